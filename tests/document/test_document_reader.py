"""YAML text to nodes: the core schema, positions, and every refusal at its exact place."""

import itertools
import json
import math
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.document import Diagnostics, Node, Source, parse_document, parse_value, read_document
from orchestrator.document.builder import DEEPEST, LONGEST_SCALAR, MOST_NODES
from orchestrator.document.reader import MOST_BYTES


def parse(text: str) -> tuple[Node | None, list[tuple[int, int, str, str]]]:
    diagnostics = Diagnostics("space.yaml")
    root = parse_document(Source("space.yaml", text), diagnostics)
    return root, [(found.line, found.column, found.path, found.message) for found in diagnostics.found]


def scalar(text: str) -> object:
    diagnostics = Diagnostics("value")
    node = parse_value(Source("value", text), diagnostics)
    assert node is not None and diagnostics.ok
    return node.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, None) for word in ("~", "null", "Null", "NULL", "--- ")],
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, word) for word in ("on", "off", "yes", "no", "Yes", "y", "nULL", "tRUE", "4M", "2%", "1:30", "2001-01-01")],
        *[(word, word) for word in ("1_000", "0b11", "1e", ".", "+", "0x", "0o8", "-0x1", "inf", "nan", ".Nan", "=", "a#b")],
        *[("12", 12), ("-7", -7), ("+3", 3), ("010", 10), ("0o17", 15), ("0x1F", 31), ("999999999999999999", 10**18 - 1)],
        *[("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("-.5", -0.5), ("3.", 3.0), ("1.5e+3", 1500.0), ("-0.0", 0.0)],
        *[(".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf)],
        *[("'1'", "1"), ('"null"', "null"), ("'on'", "on"), ("|\n 12\n", "12\n"), (">\n a\n b\n", "a b\n"), ('"\\x41"', "A")],
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_number() -> None:
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_nodes_know_where_they_are() -> None:
    root, problems = parse("# first\nmodel:\n  dim: 64\n  'n heads': [1, {choice: 0x2}]\n")
    assert root is not None and not problems
    assert (root.line, root.column) == (2, 1)
    model = root.entries["model"]
    assert (model.key_node.line, model.key_node.column, model.node.line, model.node.column) == (2, 1, 3, 3)
    heads = model.node.entries["n heads"]
    assert (heads.key_node.line, heads.key_node.column, heads.node.line, heads.node.column) == (4, 3, 4, 14)
    choice = heads.node.items[1].get("choice")
    assert choice == Node(2, 4, 27, "0x2")
    assert [path for path, _ in root.walk()] == [
        *("", "model", "model.dim", 'model["n heads"]', 'model["n heads"][0]'),
        *('model["n heads"][1]', 'model["n heads"][1].choice'),
    ]


def test_kinds_are_named_for_messages() -> None:
    root, _ = parse("a: {}\nb: []\nc: x\nd: 1\ne: 1.5\nf: true\ng:\n")
    assert root is not None
    kinds = [entry.node.kind for entry in root.entries.values()]
    assert kinds == ["mapping", "list", "text", "integer", "number", "boolean", "null"]
    assert root.plain() == {"a": {}, "b": [], "c": "x", "d": 1, "e": 1.5, "f": True, "g": None}
    assert root.get("missing") is None and root.entries["c"].node.get("x") is None


def test_aliases_are_expanded_and_stand_where_they_are_used() -> None:
    root, problems = parse("a: &width [8, 96]\nb: {int: *width}\n*key : 1\n".replace("*key", "c"))
    assert root is not None and not problems
    assert root.plain() == {"a": [8, 96], "b": {"int": [8, 96]}, "c": 1}
    used = root.entries["b"].node.get("int")
    assert used is not None and (used.line, used.column, used.items[0].line, used.items[0].column) == (2, 10, 1, 12)


HOSTILE = [
    ("", 1, 1, "", "the file is empty"),
    ("# only a comment\n", 1, 1, "", "the file is empty"),
    ("- 1\n- 2\n", 1, 1, "", "the top level must be a mapping, found list"),
    ("just text", 1, 1, "", "the top level must be a mapping, found text"),
    ("---\n", 2, 1, "", "the top level must be a mapping, found null"),
    ("a: 1\n---\nb: 2\n", 2, 1, "", "a second document begins here"),
    ("a: 1\nb: 2\na: 3\n", 3, 1, "a", "the key 'a' is written twice; first at line 1, column 1"),
    ("m:\n  x: {d: 1, d: 2}\n", 2, 13, "m.x.d", "the key 'd' is written twice; first at line 2, column 7"),
    ('a: 1\n"a": 2\n', 2, 1, "a", "the key 'a' is written twice; first at line 1, column 1"),
    ("m: {1: a}\n", 1, 5, "m", "a key must be text, found integer"),
    ("true: a\n", 1, 1, "", "a key must be text, found boolean"),
    ("~: a\n", 1, 1, "", "a key must be text, found null"),
    ("? [a, b]\n: 1\n", 1, 3, "", "a key must be text, found list"),
    ("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", 2, 5, "b", "merge keys ('<<') are not allowed"),
    ("a: !!python/object/apply:os.system ['ls']\n", 1, 4, "a", "tags are not allowed: !!python/object/apply:os.system"),
    ("a: [1, !!int '2']\n", 1, 8, "a[1]", "tags are not allowed: !!int"),
    ("a: &n !local {b: 1}\n", 1, 7, "a", "tags are not allowed: !local"),
    ("a: ! b\n", 1, 4, "a", "tags are not allowed: !"),
    ("a: !e!tag b\n", 1, 4, "", "tags such as '!name' are not allowed"),
    ("a: &loop [*loop]\n", 1, 11, "a", "the alias '*loop' stands inside what it names"),
    ("a: &loop {b: {c: *loop}}\n", 1, 18, "a.b", "the alias '*loop' stands inside what it names"),
    ("a: *nowhere\n", 1, 4, "", "the alias '*nowhere' is not defined"),
    ("a: 1e999\n", 1, 4, "a", "the number is too large"),
    ("a: [1, 1000000000000000000]\n", 1, 8, "a[1]", "a whole number has at most 18 digits"),
    ("a: 0xffffffffffffffff\n", 1, 4, "a", "a whole number has at most 18 digits"),
    ("a: " + "9" * 4000, 1, 4, "a", "a whole number has at most 18 digits"),
    ('a: "\\ud800"\n', 1, 4, "a", "the text holds half of a surrogate pair"),
    ("a: x\x00y\n", 1, 5, "", "the character U+0000 is not allowed"),
    ("a: 1\nb: \x1b[31m\n", 2, 4, "", "the character U+001B is not allowed"),
    ("a: 1\nb: \u2028c\n", 2, 4, "", "the character U+2028 is not allowed"),
    ("a: \ufeffb\n", 1, 4, "", "the character U+FEFF is not allowed"),
    ("a: \ud800\n", 1, 4, "", "the character U+D800 is not allowed"),
    ("a:\n\tb: 1\n", 2, 1, "", "a tab cannot be used for indentation"),
    ("a: @b\n", 1, 4, "", "text cannot begin with '@'"),
    ("a: 1\nb: 'never closed\nc: 2\n", 2, 4, "", "the quote that opens here is never closed"),
    ('a: "never closed', 1, 4, "", "the quote that opens here is never closed"),
    ("a: [1, 2\n", 1, 4, "", "the '[' that opens here is never closed"),
    ("a: {b: [1, 2], c: 3\n", 1, 4, "", "the '{' that opens here is never closed"),
    ("a: [1, 2\nb: 3\n", 2, 2, "", "expected ',' or ']', found ':'"),
    ("a: {b: ${16 * c}}\n", 1, 8, "", "an expression must be quoted here"),
    ("a: b: c\n", 1, 5, "", "a ':' cannot stand here"),
    ("a: 1\n   b: 2\n", 2, 5, "", "a ':' cannot stand here"),
    ("a:\n    b: 1\n  c: 2\n", 3, 3, "", "the indentation does not fit: found a mapping"),
    ("a: 1\n}\n", 2, 1, "", "'}' closes or separates nothing"),
    ("a: 1\nbcd\nc: 2\n", 2, 1, "", "expected ':' after this key"),
    ("a: []]\n", 1, 6, "", "']' closes or separates nothing"),
    ("a: - b\n", 1, 4, "", "a list item cannot begin here"),
    ('a: "\\q"\n', 1, 6, "", "'\\' cannot be followed by 'q'"),
    ('a: "\\U00110000"\n', 1, 7, "", "the number of this escape or directive is out of range"),
    ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", 1, 7, "", "the number of this escape or directive is out of range"),
    ("{a: 1} b\n", 1, 8, "", "the document has ended here, found text"),
    ("a: " + "x" * (LONGEST_SCALAR + 1), 1, 4, "", f"the text is longer than {LONGEST_SCALAR} characters"),
    ("a: |\n" + " x\n" * 20000, 1, 4, "", f"the text is longer than {LONGEST_SCALAR} characters"),
    ("a: " + "[" * 60000, 1, 3 + DEEPEST, "a" + "[0]" * (DEEPEST - 2), f"values are nested deeper than {DEEPEST} levels"),
    ("- " * 30000, 1, 2 * DEEPEST + 1, "[0]" * (DEEPEST - 1), f"values are nested deeper than {DEEPEST} levels"),
    ("a: [" + "x," * 30000 + "]", 1, 2 * MOST_NODES + 3, "a", f"the document has more than {MOST_NODES} values"),
    ("a: " + "x" * MOST_BYTES, 1, 1, "", "the file is larger than 64 KiB"),
    ("a: " + "é" * (MOST_BYTES // 2), 1, 1, "", "the file is larger than 64 KiB"),
]


@pytest.mark.parametrize(("text", "line", "column", "path", "message"), HOSTILE, ids=lambda value: repr(value)[:30])
def test_hostile_documents_are_refused_at_their_place(text: str, line: int, column: int, path: str, message: str) -> None:
    started = time.process_time()
    _, problems = parse(text)
    assert time.process_time() - started < 1
    assert problems == [(line, column, path, message)]


def test_billion_laughs_are_refused_at_the_alias_that_passes_the_limit() -> None:
    names = "abcdefghi"
    lines = ["a: &a [l, l, l, l, l, l, l, l, l]"]
    lines += [f"{name}: &{name} [{', '.join(['*' + before] * 9)}]" for before, name in itertools.pairwise(names)]
    started = time.process_time()
    root, problems = parse("\n".join(lines))
    assert time.process_time() - started < 1
    # A list of 9 costs 10; the lists after it cost 91, 820 and 7381; the first alias in the fifth passes 10,000.
    assert root is None
    assert problems == [(5, 8, "e", f"the document has more than {MOST_NODES} values")]


def test_aliases_cannot_nest_deeper_than_brackets() -> None:
    chain = ["a0: &a0 [x]"] + [f"a{step}: &a{step} [*a{step - 1}]" for step in range(1, 40)]
    _, problems = parse("\n".join(chain))
    assert problems == [(32, 12, "a31", f"values are nested deeper than {DEEPEST} levels")]


def test_the_deepest_allowed_document_is_read() -> None:
    root, problems = parse("a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    assert not problems and root is not None and str(root.plain()).count("[") == DEEPEST - 1


def test_every_mistake_is_reported_at_once_and_the_rest_is_read() -> None:
    root, problems = parse("a: !x 1\na: 2\n3: c\nb: 1e999\nd: ok\n")
    assert [problem[:2] for problem in problems] == [(1, 4), (2, 1), (3, 1), (4, 4)]
    assert root is not None and root.plain() == {"a": 1, "b": "1e999", "d": "ok"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\ufeffa: 1\n", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("日本: ün\n", {"日本": "ün"}),
        ('"<<": 1\n', {"<<": 1}),
        ("a: '!x'\nb: '*y'\n", {"a": "!x", "b": "*y"}),
    ],
)
def test_files_are_read(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(text.encode())
    diagnostics = Diagnostics(str(path))
    document = read_document(path, diagnostics)
    assert diagnostics.ok and document.root is not None and document.root.plain() == value


def _problem(path: str | Path) -> tuple[int, int, str]:
    diagnostics = Diagnostics(str(path))
    document = read_document(path, diagnostics)
    (found,) = diagnostics.found
    assert document.root is None
    return found.line, found.column, found.message


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    assert _problem(tmp_path / "missing.yaml") == (1, 1, "cannot read the file: No such file or directory")
    assert _problem(tmp_path) == (1, 1, "cannot read the file: it is a directory")
    assert _problem("a\0b") == (1, 1, "cannot read the file: embedded null byte")


def test_devices_and_pipes_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.process_time()
    assert _problem(tmp_path / "pipe") == (1, 1, "cannot read the file: it is not a regular file")
    assert _problem("/dev/zero") == (1, 1, "cannot read the file: it is not a regular file")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (b"a: 1\nb: \xc3\xa9\xff\n", (2, 5), "the file is not UTF-8 text: byte 0xff"),
        ("a: 1\n".encode("utf-16"), (1, 1), "the file is not UTF-8 text: byte 0xff"),
        (b"a: \x00\n", (1, 4), "the character U+0000 is not allowed"),
        (b"a: 1\n" * 20000, (1, 1), "the file is larger than 64 KiB"),
        (bytes(range(128, 256)), (1, 1), "the file is not UTF-8 text: byte 0x80"),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, data: bytes, place: tuple[int, int], message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(data)
    assert _problem(path) == (*place, message)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=4))
def test_what_json_writes_is_read_back(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=True).replace("Infinity", ".inf")
    root, problems = parse(text)
    surrogates = any("surrogate" in problem[3] for problem in problems)
    assert surrogates or (not problems and root is not None and root.plain() == value)


@settings(deadline=None)
@given(st.text(st.sampled_from(list("ab:-{}[],&*!|>'\"%@?#<~.0123\\ \t\n\r\0é\ud800")), max_size=60))
def test_any_text_gives_nodes_or_diagnostics(text: str) -> None:
    root, problems = parse(text)
    assert root is not None or problems
    for line, column, _, _ in problems:
        assert line >= 1 and column >= 1


@settings(deadline=None)
@given(st.text(st.sampled_from(list("ab:-{}[],'\"# \n01")), max_size=40))
def test_accepted_documents_agree_with_pyyaml(text: str) -> None:
    root, problems = parse(text)
    if problems or root is None:
        return
    assert _texts(root) == yaml.load(text, Loader=yaml.BaseLoader)


def _texts(node: Node) -> object:
    """The document with every scalar as it is written, which is what PyYAML's schema-free loader gives."""
    if isinstance(node.value, dict):
        return {key: _texts(entry.node) for key, entry in node.entries.items()}
    return [_texts(item) for item in node.items] if isinstance(node.value, list) else node.text

"""Files and expressions made to exhaust or to run something: an answer within a second and within bounded memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.document import SearchSpaceError
from orchestrator.expression import ExpressionError, evaluate, parse
from orchestrator.space.reading import read_search_space

MOST_BYTES = 64 * 2**20
"""Of memory, for 64 KiB of text."""


@contextmanager
def bounded() -> Iterator[None]:
    """Bounded processor time and memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        assert time.process_time() - started < 5  # a second is promised, and tracing costs a few times that
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


SOUND = "task: {name: mqar}\narchitectures: {gpt: {}}\n"
DOCUMENTS: dict[str, bytes] = {
    "billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110)),
    "quadratic blow-up": b"a: &a [" + b"x," * 2000 + b"]\nb: [" + b"*a," * 10000 + b"]\n",
    "mappings of aliases": b"a: &a {x: 1}\n" + b"".join(b"k%d: {y: *a}\n" % n for n in range(4000)),
    "merge keys": b"a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
    "an alias of itself": b"a: &a [*a]\n",
    "brackets": b"[" * 60000,
    "braces": b"{a: " * 15000,
    "dashes": b"- " * 30000,
    "question marks": b"? " * 30000,
    "indentation": b"".join(b" " * n + b"a:\n" for n in range(300)),
    "a huge scalar": b"name: " + b"x" * 60000,
    "a huge key": b"x" * 60000 + b": 1\n",
    "a huge number": b"a: " + b"9" * 60000,
    "a huge exponent": b"a: 1e" + b"9" * 4000,
    "a huge hexadecimal number": b"a: 0x" + b"f" * 4000,
    "a huge file": b"a: 1\n" * 10**6,
    "many keys": b"".join(b"k%d: 1\n" % n for n in range(6000)),
    "many anchors": b"".join(b"- &a%d 1\n" % n for n in range(5000)),
    "many mistakes": SOUND.encode() + b"".join(b"x%d: !t 1\n" % n for n in range(4000)),
    "many long unknown keys": SOUND.encode() + b"".join(b"%d%s: 1\n" % (n, b"y" * 900) for n in range(60)),
    "a tag that constructs": b"a: !!python/object/apply:os.system [id]\n",
    "a tag that imports": b"a: !!python/name:os.system\n",
    "a tag by directive": b"%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [id]\n",
    "a directive of a huge version": b"%YAML " + b"9" * 5000 + b".1\n---\na: 1\n",
    "UTF-16": SOUND.encode("utf-16"),
    "UTF-32": SOUND.encode("utf-32"),
    "Latin-1": "name: é\n".encode("latin-1"),
    "overlong UTF-8": b"name: \xc0\xae\xc0\xae\xc0\xaf\n",
    "a surrogate in UTF-8": b"name: \xed\xa0\x80\n",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + SOUND.encode(),
    "NUL": b"name: a\0b\n",
    "control characters": b"name: a\x1b[2Jb\n",
    "a line separator": "name: a\u2028b\n".encode(),
    "a right-to-left override as key": '"\u202eeman": x\n'.encode(),
    "several documents": SOUND.encode() + b"---\n" + SOUND.encode(),
    "nothing": b"",
    "an expression in every field": SOUND.replace("{}", "{dk: '${" + "(" * 400 + "}'}").encode(),
    "a list of a huge length": SOUND.replace("{}", "{dk: {list: {int: [1, 2]}, length: 999999999999}}").encode(),
    "a range of a huge size": SOUND.replace("{}", "{dk: {grid: [" + "1, " * 3000 + "]}}").encode(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hostile_file_is_refused_quickly_with_its_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(DOCUMENTS[name])
    with bounded(), pytest.raises(SearchSpaceError) as refused:
        read_search_space(path)
    assert all(found.line >= 1 and found.column >= 1 and found.message for found in refused.value.diagnostics)
    assert len(str(refused.value)) < 100_000


@pytest.mark.parametrize(
    "kind", ["a device", "a link to a device", "a pipe", "a link to a pipe", "a folder", "a link to itself", "nothing"]
)
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "space.yaml"
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    elif "device" in kind:
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path)
    actual = {"a device": Path("/dev/zero"), "a pipe": tmp_path / "pipe"}.get(kind, path)
    with bounded(), pytest.raises(SearchSpaceError, match="cannot read the file"):
        read_search_space(actual)


EXPRESSIONS = [
    *("dk.__class__", "().__class__.__bases__[0].__subclasses__()", "dk.real", "task.__class__", "task.x.y", "__import__('os')"),
    *(
        "eval('1')",
        "exec('1')",
        "getattr(dk, 'real')",
        "open('/etc/passwd')",
        "print(1)",
        "min.__self__",
        "(lambda: 1)()",
        "globals()",
    ),
    *(
        "9**9**9",
        "9**9**9**9**9",
        "2**-1e9",
        "(2**63)**64",
        "2**64",
        "10**18*10**18",
        "1e308*10",
        "-2**63*2",
        "0**-1",
        "(-1)**0.5",
    ),
    *("'a'*10**9", "[0]*10**9", "[[0]*10**9]*10**9", "'a'+'a'", "[1]+[2]", "'%s'%dk", "'%999999999d'%1", "f'{dk:>999999999}'"),
    *(
        "'{0.__class__}'.format(dk)",
        "'a'.join(levels)",
        "levels.append(1)",
        "'a'[0]",
        "levels[0:9]",
        "levels[10**9]",
        "levels[-10**9]",
    ),
    *(
        "(" * 400 + ")" * 400,
        "-" * 499 + "1",
        "not " * 120 + "1",
        "[" * 249 + "]" * 249,
        "dk" + "[0]" * 160,
        "min(" * 100 + "1" + ")" * 100,
    ),
    *(
        "1" + "+1" * 249,
        "1" + "<1" * 249,
        "9" * 500,
        "0x" + "f" * 490,
        "'" + "a" * 5000 + "'",
        "1e" + "9" * 400,
        "1_000_000_000**64",
    ),
    *(
        "round(1e300)",
        "floor(1e308)",
        "round(dk, 10**9)",
        "round(2**62, -10**6)",
        "log2(-1)",
        "sum([[1]])",
        "prod([2**62, 2**62])",
    ),
    *(
        "[x for x in levels]",
        "{1: 2}",
        "{1}",
        "*levels",
        "x := 1",
        "dk; dk",
        "dk\ndk",
        "dk # dk",
        "lambda: dk",
        "yield dk",
        "await dk",
    ),
    *(
        "dk if dk else dk",
        "dk @ dk",
        "~dk",
        "dk << 999999999",
        "1j",
        "b'a'",
        "...",
        "\uff44\uff4b",
        "d\u200bk",
        "dk\0",
        "\\",
        "",
        " ",
        "'",
    ),
]


@pytest.mark.parametrize("text", EXPRESSIONS, ids=lambda text: repr(text)[:30])
def test_an_attack_by_expression_is_refused_quickly_with_its_place(text: str) -> None:
    with bounded(), pytest.raises(ExpressionError) as refused:
        evaluate(parse(text), {"dk": 12, "levels": [64, 32, 8]}.__getitem__)
    assert refused.value.message and 0 <= refused.value.offset <= len(text)

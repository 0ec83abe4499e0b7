"""Diagnostics: collected once each, in order, shown as a compiler shows them."""

import json

import pytest

from orchestrator.document import (
    Diagnostic,
    Diagnostics,
    Position,
    SearchSpaceError,
    Source,
    child_path,
    did_you_mean,
    parse_document,
    render,
)

TEXT = "model:\n  dmi: 64\n\tx\n  日本: {a: 1}\n"


def test_collected_in_the_order_of_the_text_and_once_each() -> None:
    diagnostics = Diagnostics("space.yaml")
    assert diagnostics.ok and len(diagnostics) == 0
    for place in (Position(3, 1), Position(1, 9), Position(1, 2), Position(3, 1)):
        diagnostics.add(place, "a", "wrong")
    assert [(found.line, found.column) for found in diagnostics.found] == [(1, 2), (1, 9), (3, 1)]
    assert not diagnostics.ok and len(diagnostics) == 3


def test_json_has_exactly_the_promised_keys() -> None:
    diagnostic = Diagnostic("space.yaml", 2, 3, "model.dmi", "unknown key 'dmi'", "did you mean 'dim'?")
    assert json.loads(json.dumps(diagnostic.to_json())) == {
        "file": "space.yaml",
        "line": 2,
        "column": 3,
        "path": "model.dmi",
        "message": "unknown key 'dmi'",
        "hint": "did you mean 'dim'?",
    }


def test_rendered_like_a_compiler() -> None:
    found = [Diagnostic("space.yaml", 2, 3, "model.dmi", "unknown key 'dmi'", "did you mean 'dim'?")]
    assert render(found, Source("space.yaml", TEXT)).split("\n") == [
        "space.yaml:2:3: error: unknown key 'dmi'",
        "      dmi: 64",
        "      ^",
        "    hint: did you mean 'dim'?",
    ]


def test_the_caret_stands_under_wide_characters_and_behind_tabs() -> None:
    source = Source("space.yaml", TEXT)
    wide = render([Diagnostic("space.yaml", 4, 8, "", "here")], source).split("\n")
    assert wide[1:] == ["      日本: {a: 1}", "    " + " " * 9 + "^"]
    tabbed = render([Diagnostic("space.yaml", 3, 2, "", "here")], source).split("\n")
    assert tabbed[1:] == ["     x", "     ^"]


def test_long_lines_are_cut_around_the_column() -> None:
    source = Source("space.yaml", "x" * 1000 + "!" + "y" * 1000)
    shown, caret = render([Diagnostic("space.yaml", 1, 1001, "", "here")], source).split("\n")[1:]
    assert len(shown) < 130 and shown[caret.index("^")] == "!"


def test_what_could_steer_a_terminal_is_not_shown() -> None:
    diagnostics = [Diagnostic("\x1b[2J.yaml", 1, 1, "", "bad \x07 \u202e name", "a\nb")]
    text = render(diagnostics, Source("", "a\x1b[31m: \u202e1"))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "hint: a b" in text


def test_only_so_many_are_rendered() -> None:
    found = [Diagnostic("f", line, 1, "", "wrong") for line in range(1, 61)]
    lines = render(found, Source("f", "")).split("\n")
    assert len(lines) == 51 and lines[-1] == "… and 10 more"


def test_the_error_carries_and_shows_its_diagnostics() -> None:
    source, diagnostics = Source("space.yaml", "a: 1\na: 2\n"), Diagnostics("space.yaml")
    diagnostics.raise_if_any(source)
    parse_document(source, diagnostics)
    with pytest.raises(SearchSpaceError) as raised:
        diagnostics.raise_if_any(source)
    assert raised.value.diagnostics == diagnostics.found
    assert str(raised.value).startswith("space.yaml:2:1: error: the key 'a' is written twice")


def test_near_words_are_suggested() -> None:
    assert did_you_mean("dmi", ["dim", "n_heads", "lr"]) == "dim"
    assert did_you_mean("N_Head", ["dim", "n_heads", "lr"]) == "n_heads"
    assert did_you_mean("zebra", ["dim", "n_heads", "lr"]) is None
    assert did_you_mean("x" * 4000, ["dim"]) is None


def test_paths_are_readable() -> None:
    assert child_path("", "model") == "model"
    assert child_path("model", "dim") == "model.dim"
    assert child_path("model.choice", 0) == "model.choice[0]"
    assert child_path("objective", "val/accuracy") == "objective.val/accuracy"
    assert child_path("a", "b.c") == 'a["b.c"]'


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [
        ('a: "${dk + x}"\n', 7, (1, 12)),
        ("a: ${dk + x}\n", 7, (1, 11)),
        ("a: >\n  ${dk\n  + x}\n", 7, (1, 4)),
    ],
)
def test_a_place_inside_a_scalar_is_found(text: str, offset: int, place: tuple[int, int]) -> None:
    source = Source("space.yaml", text)
    root = parse_document(source, Diagnostics("space.yaml"))
    assert root is not None
    node = root.entries["a"].node
    assert source.position_within(node, str(node.value).rstrip("\n"), offset) == Position(*place)


def test_lines_and_positions_count_from_one() -> None:
    source = Source("s", "ab\r\nc\rd\n")
    assert [source.line(number) for number in range(6)] == ["", "ab", "c", "d", "", ""]
    assert [source.position(index) for index in (0, 1, 4, 6)] == [Position(*at) for at in ((1, 1), (1, 2), (2, 1), (3, 1))]

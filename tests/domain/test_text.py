r"""Text of foreign origin can neither steer a terminal nor pass for markup or a formula."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.domain.text import markdown_text, printable, printable_json, spreadsheet_cell, text_of_cell

HOSTILE = {
    "escape sequence": "a\x1b[2J\x1b[31mb",
    "window title": "a\x1b]0;title\x07b",
    "bell": "a\x07b",
    "line end": "a\nscones: all is well",
    "carriage return": "a\rb",
    "backspace": "a\x08\x08b",
    "delete": "a\x7fb",
    "C1 control sequence": "a\x9b31mb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "right-to-left override": "a\u202egnp.exe",
    "isolate": "a\u2066b\u2069",
    "Arabic mark": "a\u061cb",
    "zero-width space": "a\u200bb",
    "byte order mark": "\ufeffa",
    "tag characters": "a\U000e0041b",
    "lone surrogate": "a\ud800b",
    "byte that is not UTF-8": "caf\udce9.jpg",
    "null": "a\x00b",
}
FORBIDDEN = {chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), 0x2066)}
letters = st.text(st.characters(codec=None))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_steers_a_terminal_becomes_a_visible_escape(text: str) -> None:
    """The rest of the text stays; what is shown can be encoded."""
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["plain.jpg", "vélo n° 3.jpg", "自行车.png", "👨\u200d👩\u200d👧.png", "\u0645\u06cc\u200c\u062e", "a b", ""],
)
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    """Accents, other scripts, and emoji that joiners hold together."""
    assert printable(text) == text


@given(letters)
def test_any_text_is_printable_after_it(text: str) -> None:
    """Whatever Unicode holds: no control character, nothing that cannot be encoded."""
    shown = printable(text)
    assert shown.encode().decode() == shown
    assert not set(shown) & FORBIDDEN


@given(st.dictionaries(st.text(), st.text()))
def test_json_has_the_same_value(value: dict[str, str]) -> None:
    """Its escapes are those of JSON."""
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not set(text) & FORBIDDEN


@pytest.mark.parametrize(
    "text",
    ["<script>x</script>", "| a | b |", "[a](http://b)", "![a](b)", "`a`", "*a*", "# a", "a\n| b", "$x$", "a_b_", "\\"],
)
def test_markdown_shows_the_text_itself(text: str) -> None:
    """A cell of a table stays one: each character of markup is escaped."""
    shown = markdown_text(text)
    assert "\n" not in shown
    plain = shown.replace("\\\\", "")
    assert all(plain[at - 1] == "\\" for at, letter in enumerate(plain) if letter in "<>|[]`*#$!_")
    assert markdown_text("mountain bike-2") == "mountain bike-2"


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n=1", "＝1", "'=1", "''=1", "=cmd|' /C calc'!A0"]  # noqa: RUF001 - Excel takes it for one


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_takes_no_identifier_for_a_formula(text: str) -> None:
    """And the identifier is read back as it was."""
    cell = spreadsheet_cell(text)
    assert cell[0] == "'"
    assert text_of_cell(cell) == text


@given(st.text(st.characters(exclude_characters="\x00", codec="utf-8")))
def test_cells_are_read_back(text: str) -> None:
    """Through a real table, whatever they hold."""
    out = io.StringIO(newline="")
    csv.writer(out).writerow([spreadsheet_cell(text), "end"])
    ((cell, _),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert text_of_cell(cell) == text

"""A drawing goes into a page: its colours follow the page, and its identities clash with no others."""

import re

import pytest

from scones.reports.theme import CLASSES, TEXT, canvas


def a_drawing(name: str) -> str:
    """A chart with a clipped line, a label and a marker, which all need identities."""
    with canvas(200, 100) as drawing:
        drawing.axes.plot([0, 1], [0, 1], "o", color=CLASSES[0])
        drawing.axes.text(0.5, 0.5, "cost in $ & <cents>, $9", color=TEXT)
        return str(drawing.svg(name, 'a "quoted" <drawing>'))


def test_colours_follow_the_page() -> None:
    """No colour of ours is fixed: each is a variable of the page, or the colour of its text."""
    svg = a_drawing("one")
    assert "var(--class-1)" in svg
    assert "currentColor" in svg
    assert not re.search(r"#0a00", svg)


def test_two_drawings_share_no_identity() -> None:
    """The same chart twice on a page has different ids, and refers only to its own."""
    one, two = (set(re.findall(r'\bid="([^"]+)"', a_drawing(name))) for name in ("one", "two"))
    assert one
    assert not one & two
    assert set(re.findall(r'(?:url\(|href=")#([\w.-]+)', a_drawing("one"))) <= one


def test_the_same_drawing_gives_the_same_bytes() -> None:
    """Nothing in it depends on time or chance."""
    assert a_drawing("one") == a_drawing("one")


def test_texts_are_escaped_and_stay_texts() -> None:
    """Dollars are no formula, and angle brackets no markup; letters can be selected and searched."""
    svg = a_drawing("one")
    assert "cost in $ &amp; &lt;cents&gt;, $9" in svg
    assert "<drawing>" not in svg
    assert 'role="img"' in svg


@pytest.mark.parametrize("forbidden", ["<?xml", "<!DOCTYPE", "<metadata", "font-family", "DejaVu"])
def test_nothing_is_left_that_a_page_cannot_use(forbidden: str) -> None:
    """Headers and fonts of a file on its own are gone."""
    assert forbidden not in a_drawing("one")

"""The alert's page says it all, needs no network and takes no markup from outside."""

import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from batches import batch, evidence, swapped
from scones.monitoring.alerts.alert import Alert, make_alert
from scones.reports.alert import render_alert

DARK = make_alert(evidence(batch(brightness=-2)))
OTHER = make_alert(evidence(swapped(batch())))
VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    """Finds tags that are not closed in their order, and counts them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must close the last one."""
        assert self.open.pop() == tag


def photo() -> bytes:
    """A training photo."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(out, format="PNG")
    return out.getvalue()


@pytest.mark.parametrize("alert", [DARK, OTHER, replace(DARK, worst=(), label=(), moved=())])
def test_the_page_is_whole_html_and_fetches_nothing(alert: Alert) -> None:
    """It can be read where the network is what broke."""
    page = render_alert(alert, {})
    assert Balanced(page).open == []
    for outside in ("http://", "https://", "<script", "url(", "@import"):
        assert outside not in page
    assert "What to do now" in page


def test_worst_photos_stand_beside_those_they_are_like() -> None:
    """Where the training photos could be fetched; without them the captured ones stand alone."""
    names = {example.like for example in DARK.worst}
    alone, beside = (
        Balanced(render_alert(DARK, pictures)).counts["img"] for pictures in ({}, dict.fromkeys(names, photo()))
    )
    assert alone == len(DARK.worst) + len(DARK.label)
    assert beside == alone + len(DARK.worst)


def test_what_both_models_said_is_shown() -> None:
    """The proof that another model answers."""
    page = render_alert(OTHER, {})
    assert "Another model answers" in page
    assert "the deployed model says" in page


def test_names_from_outside_are_text() -> None:
    """Endpoints, classes, events and files may be called anything."""
    evil = "<script>alert(1)</script>"
    worst = tuple(replace(example, said=evil, like=evil, time=evil, odd=evil) for example in DARK.worst)
    label = tuple(replace(item, event=f'"{evil}', time=evil) for item in DARK.label)
    alert = replace(DARK, endpoint=evil, worst=worst, label=label, mix=((evil, 0.5, 0.6),), headline=(evil,))
    assert "<script" not in render_alert(alert, {evil: photo()})

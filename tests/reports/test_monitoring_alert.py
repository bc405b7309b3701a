"""The alert's page says it all, needs no network and takes no markup from outside."""

import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from batches import alert_on, batch, swapped
from scones.monitoring.alerts.alert import Alert
from scones.reports.monitoring import render_alert

DARK = alert_on(batch(brightness=-2))
OTHER = alert_on(swapped(batch()))
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


@pytest.mark.parametrize("alert", [DARK, OTHER, replace(DARK, examples=(), to_label=(), changes=())])
def test_the_page_is_whole_html_and_fetches_nothing(alert: Alert) -> None:
    """It can be read where the network is what broke."""
    page = render_alert(alert, {})
    assert Balanced(page).open == []
    for outside in ("http://", "https://", "<script", "url(", "@import"):
        assert outside not in page
    assert "What to do now" in page


def test_worst_photos_stand_beside_those_they_are_like() -> None:
    """Where the training photos could be fetched; without them the captured ones stand alone."""
    names = {example.similar_to for example in DARK.examples}
    alone, beside = (
        Balanced(render_alert(DARK, pictures)).counts["img"] for pictures in ({}, dict.fromkeys(names, photo()))
    )
    assert alone == len(DARK.examples) + len(DARK.to_label)
    assert beside == alone + len(DARK.examples)


def test_what_both_models_said_is_shown() -> None:
    """The proof that another model answers."""
    page = render_alert(OTHER, {})
    assert "Another model answers" in page
    assert "the registered model predicts" in page


def test_names_from_outside_are_text() -> None:
    """Endpoints, classes, events and files may be called anything."""
    evil = "<script>alert(1)</script>"
    worst = tuple(
        replace(example, prediction=evil, similar_to=evil, time=evil, unusual=evil) for example in DARK.examples
    )
    label = tuple(replace(item, event=f'"{evil}', time=evil) for item in DARK.to_label)
    alert = replace(
        DARK, endpoint=evil, examples=worst, to_label=label, class_mix=((evil, 0.5, 0.6),), headline=(evil,)
    )
    assert "<script" not in render_alert(alert, {evil: photo()})

"""Every page that a command writes, in a real browser: on a phone, a tablet and a desk, in light and in dark."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from cli.demo_run import demo_page
from console.test_browser import CHROMIUM, violations
from reports import test_dataset, test_evaluation, test_explanations, test_monitoring_alert
from scones.data.decode import png
from scones.reports.dataset import LabelIssue
from scones.reports.explanations import render_explanations
from scones.reports.monitoring import render_alert

LONG = "IMG_20261130_a_rather_long_name_of_a_photo_from_a_telephone.jpeg"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: make browser-tools installs Debian's"),
]


def data_page() -> str:
    """The report on the data, with every kind of finding."""
    collection = test_dataset.some_of_everything()
    issues = tuple(LabelIssue(each, "other", 0.9) for each in collection.photos[:3])
    return test_dataset.render(collection, issues, "job-1")


def explanations_page() -> str:
    """Two explained photos."""
    photo = png(np.full((40, 40, 3), 90, np.uint8))
    shown = [test_explanations.explained(name, photo) for name in (LONG, "b.png")]
    return render_explanations(shown, {"bicycle/a <b>.png": photo}, test_explanations.CLASSES, "abc123")


PAGES: dict[str, Callable[[], str]] = {
    "demo": demo_page,
    "evaluation": test_evaluation.whole_page,
    "evaluation, little asked for": test_evaluation.bare_page,
    "evaluation, gate failed": test_evaluation.poor_page,
    "data": data_page,
    "explanations": explanations_page,
    "alert, dark photos": lambda: render_alert(test_monitoring_alert.DARK, {}),
    "alert, another model": lambda: render_alert(test_monitoring_alert.OTHER, {}),
}
FAULTS = """() => {
  const found = [], wide = window.innerWidth;
  const say = (what, text) => found.push(what + ': ' + text.trim().slice(0, 60));
  const root = document.documentElement;
  if (root.scrollWidth > wide) say('the page scrolls sideways', String(root.scrollWidth));
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node; (node = walk.nextNode());) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style, title') || !parent.checkVisibility()) continue;
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter(each => each.width > 0);
    if (!rects.length) continue;
    const drawn = parent.closest('svg');
    const scale = drawn ? drawn.getScreenCTM().a : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
    if (size < 10.95) say('smaller than 11 px (' + size.toFixed(1) + ')', node.data);
    for (let box = parent; box && box !== document.body; box = box.parentElement) {
      const flow = getComputedStyle(box).overflowX;
      if (drawn && box.closest('svg')) continue;
      const edge = box.getBoundingClientRect();
      if (flow !== 'visible' && rects.some(each => each.right > edge.right + 1 || each.left < edge.left - 1))
        say(flow === 'auto' || flow === 'scroll' ? 'hidden until scrolled' : 'cut off', node.data);
    }
    const box = parent.closest('section, header, .tile');
    const inside = box && box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight);
    if (box && rects.some(each => each.right > inside + 1)) say('beyond its box', node.data);
    if (rects.some(each => each.right > wide + 1 || each.left < -1)) say('beyond the edge', node.data);
    for (const word of drawn ? [] : node.data.matchAll(/(?<![\\w.-])\\p{L}{2,18}(?![\\w.-])/gu)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1) say('broken word', word[0]);
    }
  }
  for (const svg of document.querySelectorAll('svg')) {
    const texts = [...svg.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
    const edge = svg.parentElement.getBoundingClientRect();
    texts.forEach(([text, one], place) => {
      if (one.right > edge.right + 2 || one.left < edge.left - 2) say('beyond its drawing', text);
      for (const [next, other] of texts.slice(place + 1))
        if (Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1.5 &&
            Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 6) say('overlaps', text + ', ' + next);
    });
  }
  return [...new Set(found)];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_readable_at_every_width(browser: Browser, name: str) -> None:
    """No text is small, cut off, broken in a word, or hidden; axe finds nothing serious, in light and in dark."""
    html, faults = PAGES[name](), list[Any]()
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
        page = context.new_page()
        page.set_content(html)
        for width in (390, 768, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            faults += [(width, each) for each in page.evaluate(FAULTS)]
        faults += [(scheme, each) for each in violations(page)]
        context.close()
    assert faults == []

"""The page shows each photo to label, does not show the predictions, and the table names them."""

from dataclasses import replace

from scones.data.labels import parse_labels
from scones.monitoring.performance.labels import LabelRequest
from scones.reports.monitoring import LabelPagePhoto, render_labels, table_to_fill
from tiny_model import plain_photo

PHOTO = plain_photo(120)
ASKED = LabelRequest("m", ("e1", "<e2>"), (4, 9), (0.5, 0.5), (0.8,) * 10)


def test_each_photo_is_shown_with_its_event_and_where_to_write() -> None:
    """One that the capture has no longer is said to be gone; names from anywhere are escaped."""
    photos = [LabelPagePhoto("e1", "2026-11-23T03:00:00Z", PHOTO), LabelPagePhoto("<e2>", "soon", None)]
    page = render_labels("scones-dev", ("bicycle", "motorcycle"), photos, "new.csv")
    assert page.count("<img") == 1
    assert "no longer in the capture" in page
    assert "&lt;e2&gt;" in page
    assert "scones monitor --labels new.csv" in page
    assert "bicycle or motorcycle" in page


def test_the_table_asks_for_what_can_be_seen() -> None:
    """A photo that is not shown cannot be labelled."""
    assert table_to_fill(ASKED, {"e1": PHOTO}) == "number,event,label\n1,e1,\n"


def test_an_event_that_looks_like_a_formula_is_none_and_is_read_back() -> None:
    """Clients choose inference ids: a spreadsheet shows them, and the labels still match."""
    ids = ("=HYPERLINK(1)", "@x", "-1", "'=1")
    table = table_to_fill(replace(ASKED, events=ids), dict.fromkeys(ids, PHOTO))
    head, *rows = table.splitlines()
    assert all(row.split(",")[1].startswith("'") for row in rows)
    filled = "\n".join([head, *(f"{row}bicycle" for row in rows)])
    found = parse_labels(filled, ("bicycle", "motorcycle"))
    assert {label.photo or label.event: label.label for label in found} == dict.fromkeys(ids, "bicycle")

"""The page shows each photo to label, does not show the predictions, and the table names them."""

from scones.data.labels import parse_labels
from scones.reports.monitoring import LabelPagePhoto, render_labels, table_to_fill
from tiny_model import plain_photo

PHOTO = plain_photo(120)


def test_each_photo_is_shown_with_its_event_and_where_to_write() -> None:
    """One that the capture has no longer is said to be gone; names from anywhere are escaped."""
    photos = [LabelPagePhoto("e1", "2026-11-23T03:00:00Z", PHOTO), LabelPagePhoto("<e2>", "soon", None)]
    page = render_labels("scones-dev", ("bicycle", "motorcycle"), photos, "new.csv")
    assert page.count("<img") == 1
    assert "no longer there" in page
    assert "&lt;e2&gt;" in page
    assert "scones review import new.csv" in page
    assert "bicycle or motorcycle" in page


def row(event: str) -> dict[str, str]:
    """A photo of the table, by its event."""
    return {"photo": "", "event": event, "reason": "measure", "image": "s3://b/1.png"}


def test_the_table_has_a_row_and_an_empty_label_for_each_photo() -> None:
    """And says why the photo is to be labelled."""
    assert table_to_fill([row("e1")]) == "photo,event,reason,label\n,e1,measure,\n"


def test_an_event_that_looks_like_a_formula_is_none_and_is_read_back() -> None:
    """Clients choose inference ids: a spreadsheet shows them, and the labels still match."""
    ids = ("=HYPERLINK(1)", "@x", "-1", "'=1")
    head, *rows = table_to_fill(map(row, ids)).splitlines()
    assert all(line.split(",")[1].startswith("'") for line in rows)
    filled = "\n".join([head, *(f"{line}bicycle" for line in rows)])
    found = parse_labels(filled, ("bicycle", "motorcycle"))
    assert {label.photo or label.event: label.label for label in found} == dict.fromkeys(ids, "bicycle")

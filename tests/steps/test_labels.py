"""Photos are given out to label, and their labels say how right the endpoint is."""

import csv
from pathlib import Path

import pytest

from scones.data.labels import InvalidLabels
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs

PHOTOS = 35


def test_photos_are_given_out_and_their_labels_come_back(flow: Pipeline, tmp_path: Path) -> None:
    """The page shows each photo, the table names it, and the filled table gives both figures."""
    flow.monitor()
    photos = [flow.upload(f"{number}.png", photo) for number, photo in enumerate(noisy_pngs(PHOTOS, seed=31))]
    answers = flow.classify_samples(photos)
    flow.monitor(at_least=PHOTOS)
    page = tmp_path / "new" / "label.html"
    flow.to_label(page)
    shown = page.read_text()
    table = page.with_suffix(".csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == shown.count("<img") == 30
    assert all(row["event"] in shown and row["label"] == "" for row in rows)
    label = answers.executions[0].label or "bicycle"
    table.write_text("event,label\n" + "".join(f"{row['event']},{label}\n" for row in rows))
    found = flow.label(table)
    assert (found.labels, found.photos, found.unknown, found.refused) == (30, 30, 0, ())
    assert found.corrected is not None
    with table.open("ab") as file:
        file.write(b"x,tram\n\xff,bicycle,\xe9\n")
    again = flow.label(table)
    assert (again.labels, again.photos, again.unknown) == (31, 30, 1)
    assert again.refused == ("line 32: unknown class 'tram'; the classes are bicycle, motorcycle",)


def test_labels_that_cannot_be_read_are_one_clear_error(flow: Pipeline, tmp_path: Path) -> None:
    """No file, or one that is no text."""
    with pytest.raises(InvalidLabels, match="cannot read"):
        flow.label(tmp_path / "none.csv")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidLabels, match="cannot read"):
        flow.label(tmp_path / "photo.csv")

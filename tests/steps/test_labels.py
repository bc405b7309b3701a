"""Photos are given out to label, and their labels say how right the endpoint is."""

import csv
import json
from pathlib import Path

import pytest

from scones.data.labels import InvalidLabels, LabelOrigin, Purpose, parse_labels
from scones.pipeline import Pipeline
from scones.steps.labels import _table
from tiny_model import noisy_pngs

PHOTOS = 35


def test_photos_are_given_out_and_their_labels_come_back(own_flow: Pipeline, tmp_path: Path) -> None:
    """The table names each photo, and the filled table gives both figures."""
    flow = own_flow
    flow.monitor()
    photos = [flow.upload(f"{number}.png", photo) for number, photo in enumerate(noisy_pngs(PHOTOS, seed=31))]
    answers = flow.classify_samples(photos)
    flow.monitor(at_least=PHOTOS)
    table = tmp_path / "new" / "label.csv"
    exported = flow.export_reviews(table, limit=1000)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert all(row["label"] == "" and row["reason"] for row in rows)
    # Some of them waited already, because the model is unsure of them.
    assert exported.chosen == 30 <= len(rows) == exported.photos
    tasks = json.loads(table.with_suffix(".json").read_text())
    assert [task["data"]["photo"] for task in tasks] == [row["photo"] for row in rows]
    label = answers.executions[0].label or "bicycle"
    table.write_text("event,label\n" + "".join(f"{row['event']},{label}\n" for row in rows))
    found = flow.label(table)
    assert (found.labels, found.photos, found.unknown, found.refused) == (len(rows), len(rows), 0, ())
    assert found.corrected is not None
    with table.open("ab") as file:
        file.write(b"x,tram\n\xff,bicycle,\xe9\n")
    again = flow.label(table)
    assert (again.labels, again.photos, again.unknown) == (len(rows) + 1, len(rows), 1)
    assert again.refused == (f"line {len(rows) + 2}: unknown class 'tram'; the classes are bicycle, motorcycle",)
    kept = [label for row in rows for label in flow.aws.tables.labels.of_photo(row["photo"])]
    assert len(kept) == len(rows), "the same file again adds no label"
    assert all(label.predicted and label.model for label in kept)
    measured = [label for label in kept if label.purpose is Purpose.MEASURE]
    assert len(measured) >= 15
    assert all(0 < label.chance < 1 for label in measured)
    assert flow.aws.bucket.find(flow.aws.bucket.key(kept[0].uri))
    assert {item.photo_id for item in flow.reviews(limit=1000).items}.isdisjoint(row["photo"] for row in rows)


def test_an_event_that_looks_like_a_formula_is_none_and_is_read_back() -> None:
    """Clients choose inference ids: a spreadsheet shows them, and the labels still match."""
    ids = ("=HYPERLINK(1)", "@x", "-1", "'=1")
    head, *rows = _table({"photo": "", "event": event, "reason": "measure"} for event in ids).splitlines()
    assert head == "photo,event,reason,label"
    assert all(line.split(",")[1].startswith("'") for line in rows)
    filled = "\n".join([head, *(f"{line}bicycle" for line in rows)])
    found = parse_labels(filled, ("bicycle", "motorcycle"))
    assert {label.photo or label.event: label.label for label in found} == dict.fromkeys(ids, "bicycle")


def test_late_truth_counts_for_the_model_that_had_answered(flow: Pipeline, tmp_path: Path) -> None:
    """By the photo's hash or its execution, before any monitoring run; who labelled is the importer."""
    samples = [flow.upload(f"{number}.png", photo) for number, photo in enumerate(noisy_pngs(3, seed=97))]
    answers = flow.classify_samples(samples).executions
    table, by_execution = tmp_path / "late.csv", answers[2].name
    names = [samples[0].sha256, samples[1].sha256, by_execution]
    table.write_text("photo,label\n" + "".join(f"{name},motorcycle\n" for name in names))
    found = flow.import_labels(table, "ann")
    assert (found.labels, found.photos, found.unknown) == (3, 3, 0)
    for sample, answer in zip(samples, answers, strict=True):
        (label,) = flow.aws.tables.labels.of_photo(sample.sha256)
        assert (label.by, label.label, label.predicted, label.event) == ("ann", "motorcycle", answer.label, answer.name)
        assert label.origin == (LabelOrigin.LATE if answer.outcome == "classified" else LabelOrigin.REVIEW)


def test_labels_that_cannot_be_read_are_one_clear_error(flow: Pipeline, tmp_path: Path) -> None:
    """No file, or one that is no text."""
    with pytest.raises(InvalidLabels, match="cannot read"):
        flow.label(tmp_path / "none.csv")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidLabels, match="cannot read"):
        flow.label(tmp_path / "photo.csv")
    (tmp_path / "unknown.csv").write_text(f"photo,label\n{'0' * 64},bicycle\nnone,bicycle\n")
    with pytest.raises(InvalidLabels, match="none of 2 labels matches"):
        flow.label(tmp_path / "unknown.csv")

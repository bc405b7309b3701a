"""Files of labels are read row by row, and what several people said about a photo is settled or stays disputed."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.data.labels import (
    NOT_A_VEHICLE,
    WITHDRAWN,
    InvalidLabels,
    Label,
    LabelOrigin,
    disagreements,
    label_studio_tasks,
    parse_labels,
    settled,
)

CLASSES = ("bicycle", "motorcycle")


def by_name(labels: Iterable[Label]) -> dict[str, str]:
    """Each photo's label, by the name that the row gave."""
    return {label.photo or label.event: label.label for label in labels}


@pytest.mark.parametrize(
    "text",
    [
        "event,label\ne1,bicycle\nh2,motorcycle\ne3,\n",
        "photo,when,label\r\ne1,now,bicycle\r\nh2,,motorcycle\r\n",
        "photo,event,label\n ,e1,bicycle\nh2,e9,motorcycle\n",
        "event,label\re1,bicycle\rh2,motorcycle\r",
        '{"event": "e1", "label": "bicycle"}\n\n{"photo": "h2", "label": "motorcycle", "by": {"name": "Ann"}}\n',
    ],
)
def test_tables_and_lines_read_alike(text: str) -> None:
    """Other columns and rows without a label are passed over."""
    assert by_name(parse_labels(text, CLASSES)) == {"e1": "bicycle", "h2": "motorcycle"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event,label\ne1,tram\n", "line 2: unknown class 'tram'; the classes are bicycle, motorcycle"),
        ("name,label\ne1,bicycle\n", "line 2 has no photo"),
        ("event,label\ne1,bicycle\ne1,motorcycle\n", "line 3: photo e1 has two labels"),
        ('{"event": "e1"', "line 1 is not a JSON object"),
        ("event,kind\ne1,bicycle\n", "no photo has a label"),
    ],
)
def test_what_cannot_be_a_label_is_named_with_its_line(text: str, message: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidLabels, match=message):
        parse_labels(text, CLASSES)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text crashes the reader."""
    with suppress(InvalidLabels):
        parse_labels(text, CLASSES)


BAD_ROWS = [
    *("e9,tram", ",bicycle", '"e9,bicycle', '"""', "e9,\ud800", "\x00,x", "e9,\ufffd", "\x1b[2J,x", '"e9""'),
    *(f"e9,{'b' * 200_000}", f'"{"b" * 200_000}",bicycle'),
]
BAD_LINES = [
    "{",
    "[]",
    "null",
    '{"event": "e9"',
    '{"event": ["e9"], "label": "tram"}',
    "e9,bicycle",
    "\x00",
    "[" * 9000,
]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("rows", "bad"), [*(("csv", row) for row in BAD_ROWS), *(("json", row) for row in BAD_LINES)])
def test_a_row_that_cannot_be_used_is_refused_and_no_other(rows: str, bad: str, place: int) -> None:
    """Whatever is wrong with it, and wherever it is, the labels before and after it are read."""
    good = ["e1,bicycle", "h2,motorcycle"]
    if rows == "json":
        good = [json.dumps(dict(zip(("event", "label"), row.split(","), strict=True))) for row in good]
    good.insert(place, bad)
    head = ["event,label"] if rows == "csv" else ['{"event": "e0", "label": ""}']
    refused: list[InvalidLabels] = []
    found = by_name(parse_labels("\n".join([*head, *good]) + "\n", CLASSES, refused.append))
    assert found == {"e1": "bicycle", "h2": "motorcycle"}
    assert len(refused) == 1
    assert f"line {place + 2}" in str(refused[0])
    assert len(str(refused[0])) < 300


def test_a_note_of_several_lines_is_one_row() -> None:
    """A spreadsheet quotes it; its row has a label like any other."""
    text = 'note,event,label\r\n"two\r\nlines, ""quoted""",e1,bicycle\r\n,h2,motorcycle\r\n'
    assert by_name(parse_labels(text, CLASSES)) == {"e1": "bicycle", "h2": "motorcycle"}


@given(st.lists(st.text(max_size=20).filter(lambda row: not set(row) & {'"', "\n", "\r"})), st.booleans())
def test_any_rows_between_two_labels_leave_both_as_they_are(rows: list[str], as_json: bool) -> None:
    """No row, however odd, is read as another one's label, and none ends the reading."""
    one, two = ("e1,bicycle", "h2,motorcycle")
    head = "event,label"
    if as_json:
        head = one = json.dumps({"event": "e1", "label": "bicycle"})
        two = json.dumps({"event": "h2", "label": "motorcycle"})
    found = by_name(parse_labels("\n".join([head, one, *rows, two]), CLASSES, lambda _: None))
    assert {"e1": "bicycle", "h2": "motorcycle"}.items() <= found.items()


def test_a_photo_with_two_labels_costs_no_other_its_label() -> None:
    """Neither of the two is used, and each contradiction is named."""
    refused: list[InvalidLabels] = []
    text = "event,label\ne1,bicycle\ne2,bicycle\ne1,motorcycle\n"
    assert by_name(parse_labels(text, CLASSES, refused.append)) == {"e2": "bicycle"}
    assert ["photo e1 has two labels" in str(error) for error in refused] == [True]


def test_two_people_may_label_a_photo_and_who_is_not_named_is_the_importer() -> None:
    """Who and when come from the row, else from the import; a time of a spreadsheet's own form is the import's."""
    text = "photo,label,by,when\nh1,bicycle,ann,2026-11-30T08:00+01:00\nh1,other,,30.11.2026\n"
    found = parse_labels(text, CLASSES, by="bob", when="2026-12-01T00:00:00.000000Z")
    assert [(label.label, label.by, label.when) for label in found] == [
        ("bicycle", "ann", "2026-11-30T07:00:00.000000Z"),
        (NOT_A_VEHICLE, "bob", "2026-12-01T00:00:00.000000Z"),
    ]


def task(*annotations: dict[str, object], **data: str) -> dict[str, object]:
    """One task of Label Studio's JSON."""
    return {"id": 1, "data": {"photo": "h1", **data}, "annotations": list(annotations)}


def annotation(label: str, **more: object) -> dict[str, object]:
    """One annotation with a choice."""
    result = {"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": [label]}}
    return {"completed_by": 7, "updated_at": "2026-11-30T07:00:00Z", "result": [result], **more}


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([task(annotation("bicycle"))], [("h1", "bicycle", "annotator 7")]),
        ([task(annotation("bicycle", completed_by={"id": 7, "email": "a@b"}))], [("h1", "bicycle", "a@b")]),
        (
            [task(annotation("bicycle"), annotation("motorcycle", completed_by=8))],
            [("h1", "bicycle", "annotator 7"), ("h1", "motorcycle", "annotator 8")],
        ),
        (
            [{"photo": "h1", "label": "bicycle", "annotator": 7, "updated_at": "2026-11-30T07:00:00Z"}],
            [("h1", "bicycle", "annotator 7")],
        ),
        ([{"photo": "h1", "choice": "bicycle", "annotator": 7}], [("h1", "bicycle", "annotator 7")]),
        ([task(annotation("tram")), task(annotation("bicycle"))], [("h1", "bicycle", "annotator 7")]),
        ([task(annotation("bicycle", was_cancelled=True), annotation("other"))], [("h1", "other", "annotator 7")]),
        ([task(), task(annotation("bicycle"), photo="h2"), {}, {"data": 3}], [("h2", "bicycle", "annotator 7")]),
        ([task({"result": "?"}), task(annotation("bicycle"), photo="h2")], [("h2", "bicycle", "annotator 7")]),
    ],
)
def test_exports_of_label_studio_are_read(tasks: list[object], expected: list[tuple[str, str, str]]) -> None:
    """JSON and JSON-MIN; a skipped task has no label, and a task that cannot be used costs no other its label."""
    found = parse_labels(json.dumps(tasks), CLASSES, lambda _: None)
    assert [(label.photo, label.label, label.by) for label in found] == expected


@pytest.mark.parametrize("text", ["[", "[1]", "[[]]", '[{"data": {}}]', "[" * 9000, "[]", "[null]"])
def test_json_that_is_no_export_is_refused(text: str) -> None:
    """Nothing of it is guessed."""
    with pytest.raises(InvalidLabels):
        parse_labels(text, CLASSES)


def test_tasks_for_label_studio_come_back_with_their_photos() -> None:
    """What Label Studio adds to a task beside its data is read; the model's answer is a prediction."""
    rows = [{"photo": "h1", "image": "s3://b/1.png", "predicted": "bicycle", "confidence": 0.6, "model": "m"}]
    (written,) = json.loads(label_studio_tasks([*rows]))
    assert written["predictions"][0]["result"][0]["value"] == {"choices": ["bicycle"]}
    back = parse_labels(json.dumps([{**written, "annotations": [annotation("motorcycle")]}]), CLASSES)
    assert by_name(back) == {"h1": "motorcycle"}


def said(label: str, by: str, minute: int, photo: str = "h1") -> Label:
    """What a person said, at a minute."""
    return Label(photo, label, by, f"2026-11-30T07:{minute:02d}:00.000000Z")


@pytest.mark.parametrize(
    ("labels", "agreed", "disputed"),
    [
        ([said("bicycle", "ann", 1)], "bicycle", 0),
        ([said("bicycle", "ann", 1), said("motorcycle", "ann", 2)], "motorcycle", 0),
        ([said("motorcycle", "ann", 2), said("bicycle", "ann", 1)], "motorcycle", 0),
        ([said("bicycle", "ann", 1), said(WITHDRAWN, "ann", 2)], None, 0),
        ([said("bicycle", "ann", 1), said("motorcycle", "bob", 2)], None, 2),
        ([said("bicycle", "ann", 1), said("motorcycle", "bob", 2), said(WITHDRAWN, "bob", 3)], "bicycle", 0),
        ([said("bicycle", "ann", 1), said("motorcycle", "bob", 2), said("bicycle", "bob", 3)], "bicycle", 0),
        ([said("other", "ann", 1), said("other", "bob", 1)], "other", 0),
        ([], None, 0),
    ],
)
def test_a_persons_last_word_counts_and_people_may_disagree(
    labels: list[Label], agreed: str | None, disputed: int
) -> None:
    """In whatever order the labels come; what was withdrawn counts for nothing."""
    for order in (labels, labels[::-1]):
        found = settled(order).get("h1")
        assert (found.label if found else None) == agreed
        assert len(disagreements(order).get("h1", ())) == disputed


def test_a_correction_and_a_review_are_withdrawn_each_by_itself() -> None:
    """What the same person said about the photo in the other place counts again."""
    review, correction = said("bicycle", "ann", 1), replace(said("other", "ann", 2), origin=LabelOrigin.CORRECTION)
    assert settled([review, correction])["h1"].label == "other"
    assert settled([review, correction, replace(correction, label=WITHDRAWN, when="2026-12-01")])["h1"] == review
    assert settled([review, correction, replace(review, label=WITHDRAWN, when="2026-12-01")])["h1"] == correction


def test_photos_are_settled_each_by_itself() -> None:
    """The same people may agree about one photo and disagree about another."""
    labels = [said("bicycle", "ann", 1), said("other", "bob", 2)]
    labels += [replace(label, photo="h2", label="bicycle") for label in labels]
    assert settled(labels).keys() == {"h2"}
    assert disagreements(labels).keys() == {"h1"}

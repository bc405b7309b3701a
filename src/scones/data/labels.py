"""Labels: what people say that photos show, and files of labels: CSV, JSON Lines and Label Studio's JSON."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from scones.domain.decision import MAX_NAME_CHARACTERS, NOT_A_VEHICLE
from scones.domain.errors import DataError, raise_as
from scones.domain.naming import from_iso8601, to_iso8601
from scones.domain.text import text_of_cell

__all__ = [
    "NOT_A_VEHICLE",
    "WITHDRAWN",
    "InvalidLabels",
    "Label",
    "LabelOrigin",
    "Purpose",
    "disagreements",
    "label_studio_tasks",
    "newest",
    "parse_labels",
    "settled",
]

WITHDRAWN: Final = ""
"""The label with which a person withdraws the one that they gave before."""
_NAMES = ("photo", "event")
_MAX_SHOWN = 80


class InvalidLabels(DataError):
    """Labels that cannot be read, or that do not fit the photos."""


class LabelOrigin(StrEnum):
    """How a label came."""

    REVIEW = "review"
    LATE = "late"
    """The truth about a photo that was answered long ago, such as what the courier really rode."""
    CORRECTION = "correction"
    """A person confirmed or corrected the label of a training photo."""


class Purpose(StrEnum):
    """What a label is for."""

    MEASURE = "measure"
    """It belongs to the random share, which measures and never trains."""
    LEARN = "learn"


@dataclass(frozen=True, slots=True)
class Label:
    """What one person said about one photo at one time; a later one never overwrites it."""

    photo: str
    """The SHA-256 of the photo's bytes."""
    label: str
    """A class, NOT_A_VEHICLE or WITHDRAWN."""
    by: str
    when: str
    """ISO 8601, as `to_iso8601` writes it."""
    origin: LabelOrigin = LabelOrigin.REVIEW
    purpose: Purpose = Purpose.LEARN
    uri: str = ""
    """Where the photo is stored."""
    event: str = ""
    """The execution or the inference id of the model's answer."""
    model: str = ""
    """The version of the model that answered; empty if none did."""
    predicted: str = ""
    confidence: float = 0.0
    chance: float = 1.0
    """The probability with which the photo was chosen; 1 if it came to review by itself."""
    seen: str = ""
    """When the model answered, in ISO 8601."""


def newest(labels: Iterable[Label]) -> dict[str, dict[str, Label]]:
    """Each person's last word about each photo: photo -> person -> label; withdrawn ones are left out.

    To withdraw a correction of a training label leaves what the person said in a review, and the reverse.
    """
    last: dict[tuple[str, str, bool], Label] = {}
    for label in sorted(labels, key=lambda label: label.when):
        last[label.photo, label.by, label.origin is LabelOrigin.CORRECTION] = label
    found: dict[str, dict[str, Label]] = {}
    for label in sorted(last.values(), key=lambda label: label.when):
        if label.label != WITHDRAWN:
            found.setdefault(label.photo, {})[label.by] = label
    return found


def settled(labels: Iterable[Label]) -> dict[str, Label]:
    """The newest label of each photo about which people agree: photo -> label."""
    return {
        photo: max(said.values(), key=lambda label: label.when)
        for photo, said in newest(labels).items()
        if _agree(said.values())
    }


def disagreements(labels: Iterable[Label]) -> dict[str, tuple[Label, ...]]:
    """Each person's last label of the photos about which people disagree, the first one first: photo -> labels."""
    return {
        photo: tuple(sorted(said.values(), key=lambda label: label.when))
        for photo, said in newest(labels).items()
        if not _agree(said.values())
    }


def _agree(labels: Iterable[Label]) -> bool:
    return len({label.label for label in labels}) == 1


Refuse = Callable[[InvalidLabels], None]
"""Takes the reason why one row, or the labels of one photo, cannot be used."""


def _raise(error: InvalidLabels) -> None:
    raise error


def parse_labels(
    text: str, classes: Sequence[str], refuse: Refuse = _raise, *, by: str = "", when: str = ""
) -> tuple[Label, ...]:
    """Read CSV with a header, JSON Lines, or an export of Label Studio (JSON or JSON-MIN).

    A row names its photo by `photo`, the SHA-256 of its bytes, or by `event`, and has a `label`: one of *classes*, or
    NOT_A_VEHICLE. Where it has no `by` or no `when`, *by* and *when* stand. Rows without a label are skipped. A row
    without a photo, of an unknown class or that cannot be read, and a photo with two labels by one person at one time
    go to *refuse*, and the others are used.

    Raises:
        InvalidLabels: no row has a label that can be used.
    """
    found: dict[tuple[str, str, str], Label] = {}
    two: set[tuple[str, str, str]] = set()
    refused: list[InvalidLabels] = []

    def reject(error: InvalidLabels) -> None:
        refused.append(error)
        refuse(error)

    for place, row in table_rows(text, reject):
        try:
            label = _label(row, place, classes, by, when)
        except InvalidLabels as error:
            reject(error)
            continue
        if label is None:
            continue
        key = label.photo or label.event, label.by, label.when
        if found.setdefault(key, label).label != label.label:
            two.add(key)
            labels = f"{found[key].label} and {label.label}"
            reject(InvalidLabels(f"{place}: photo {key[0][:_MAX_SHOWN]} has two labels, {labels}; keep one"))
    usable = tuple(label for key, label in found.items() if key not in two)
    if not usable:
        raise refused[0] if refused else InvalidLabels("no photo has a label; fill in the column label")
    return usable


def _label(row: Mapping[str, object], place: str, classes: Sequence[str], by: str, when: str) -> Label | None:
    """The label of a row; None if nothing was filled in."""
    photo, event = (text_of_cell(str(row.get(name) or "").strip()) for name in _NAMES)
    label = str(row.get("label") or "").strip()
    if not (photo or event):
        raise InvalidLabels(f"{place} has no photo; the columns are photo (or event) and label")
    if not label:
        return None
    if label not in (*classes, NOT_A_VEHICLE):
        known = ", ".join(classes)
        raise InvalidLabels(f"{place}: unknown class {label[:_MAX_SHOWN]!r}; the classes are {known}")
    person = text_of_cell(str(row.get("by") or "").strip()) if isinstance(row.get("by"), str) else ""
    try:
        moment = to_iso8601(from_iso8601(str(row["when"]))) if row.get("when") else when
    except (ValueError, OverflowError):
        # A spreadsheet writes times in many ways; the time of the import is as good.
        moment = when
    return Label(photo, label, person[:MAX_NAME_CHARACTERS] or by, moment, event=event)


def table_rows(text: str, refuse: Refuse) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each row, and its place in the file for messages."""
    start = text.lstrip()[:1]
    if start == "[":
        yield from _label_studio_rows(text)
        return
    lines = list(io.StringIO(text, newline=""))
    if start != "{":
        yield from _csv_rows(lines, refuse)
        return
    for number, item in enumerate(lines, start=1):
        if item.strip():
            try:
                with raise_as(InvalidLabels):
                    row = msgspec.json.decode(item, type=dict[str, object])
            except InvalidLabels as error:
                refuse(InvalidLabels(f"line {number} is not a JSON object ({error.__cause__})"))
            else:
                yield f"line {number}", row


def _csv_rows(lines: Sequence[str], refuse: Refuse) -> Iterator[tuple[str, Mapping[str, object]]]:
    """A quote that is never closed would take in all rows after it: its line is refused, and the next one read."""
    names: list[str] | None = None
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[number] for number in range(start, len(lines)))
        try:
            row = next(reader)
            end = start + reader.line_num
            if reader.line_num > 1 or end == len(lines):
                next(csv.reader(lines[start:end], strict=True))
        except csv.Error as error:
            refuse(InvalidLabels(f"line {start + 1} is not CSV ({error})"))
            start += 1
            continue
        start = end
        if names is None:
            names = row or None
        elif row:
            yield f"line {start}", dict(zip(names, row, strict=False))


def _label_studio_rows(text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each annotation of each task; in JSON-MIN a task has one, and its choice is beside the data.

    Source: https://labelstud.io/guide/export.html#Raw-JSON-format-of-completed-tasks
    """
    with raise_as(lambda reason: InvalidLabels(f"the JSON {reason}; export it from Label Studio as JSON or JSON-MIN")):
        tasks = msgspec.json.decode(text, type=list[dict[str, Any]])
    for number, task in enumerate(tasks, start=1):
        data = task["data"] if isinstance(task.get("data"), dict) else task
        annotations = task.get("annotations", [task]) if isinstance(task.get("annotations", []), list) else []
        for annotation in annotations:
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                given = {"label": _choice(annotation), "by": _person(annotation), "when": _moment(annotation)}
                yield f"task {number}", {**{name: data.get(name) for name in _NAMES}, **given}


def _choice(annotation: Mapping[str, Any]) -> object:
    """The first choice of an annotation; of JSON-MIN, the field `label`, after the control's name, or `choice`."""
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        value = result.get("value") if isinstance(result, dict) else None
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices:
            return choices[0]
    return annotation.get("label") or annotation.get("choice")


def _person(annotation: Mapping[str, Any]) -> str:
    """Who annotated: an address, a name, or a number."""
    person = annotation.get("completed_by") or annotation.get("annotator") or annotation.get("by") or ""
    if isinstance(person, dict):
        person = person.get("email") or person.get("username") or person.get("id") or ""
    return f"annotator {person}" if isinstance(person, int) else str(person)


def _moment(annotation: Mapping[str, Any]) -> object:
    return annotation.get("updated_at") or annotation.get("created_at") or annotation.get("when")


def label_studio_tasks(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write tasks that Label Studio imports, one per row.

    A row has the fields of the task's data, with the photo's address as `image`; where it has `predicted`, it has
    `model` and `confidence` too, and becomes a prediction, which Label Studio shows in advance.

    Source: https://labelstud.io/guide/predictions.html
    """
    tasks = []
    for row in rows:
        task: dict[str, Any] = {"data": dict(row)}
        if row.get("predicted"):
            choice = {"from_name": "label", "to_name": "image", "type": "choices"}
            result = {**choice, "value": {"choices": [row["predicted"]]}}
            task["predictions"] = [{"model_version": row["model"], "score": row["confidence"], "result": [result]}]
        tasks.append(task)
    return msgspec.json.format(msgspec.json.encode(tasks), indent=1)

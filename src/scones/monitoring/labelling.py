"""Labelling: which photos a person should label next, and what labels say once they come; pure."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from scones.monitoring.labels import FEWEST, TO_LABEL, BadLabels, Choice, Figure, choose, correct, exact
from scones.monitoring.measured import Measured
from scones.monitoring.notice import in_range
from scones.monitoring.scores import Floats

ASKED_KEY: Final = "monitor/labels/asked.json"
"""Where in the bucket it lies which photos were to be labelled last."""
_NAMES = ("photo", "event")


@dataclass(frozen=True, slots=True)
class Asked:
    """Photos to label, by event: their *places* among all with this *confidence*, and the *chances* that they had."""

    model: str
    events: tuple[str, ...]
    places: tuple[int, ...]
    chances: tuple[float, ...]
    confidence: tuple[float, ...]

    @classmethod
    def of(cls, model: str, events: Sequence[str], probabilities: Floats, seed: int) -> "Asked":
        """Choose TO_LABEL of the photos that the *model* answered with these *probabilities*, [n, C]."""
        confidence = probabilities.max(axis=1)
        choice = choose(confidence, TO_LABEL, seed)
        places, chances = tuple(choice.photos.tolist()), tuple(choice.chances.tolist())
        chosen = tuple(events[place] for place in places)
        return cls(model, chosen, places, chances, tuple(confidence.tolist()))

    def to_json(self) -> bytes:
        """Write it."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, body: bytes) -> "Asked":
        """Read what `to_json` wrote.

        Raises:
            BadLabels: damaged.
        """
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise BadLabels(f"{ASKED_KEY} cannot be read ({error}); run: scones monitor --to-label FILE") from error


@dataclass(frozen=True, slots=True)
class Labelled:
    """What labels say: of how many of the photos seen there is one, and the accuracy that follows.

    *corrected* is that of all photos among which was chosen, where labels of chosen ones came.
    """

    labels: int
    photos: int
    unknown: int
    """Labels of photos that no look has seen, or that another model answered."""
    exact: Figure
    corrected: Figure | None
    asked: int
    """How many were to be labelled."""

    def summary(self) -> Iterator[str]:
        """Say it in a few lines."""
        yield f"{self.labels} labels, of {self.photos} photos that were seen; {self.unknown} of none"
        if self.corrected is not None:
            yield f"accuracy on all photos: {in_range(self.corrected)}, from {self.corrected.labels} labels asked for"
            if self.corrected.labels < self.asked:
                yield f"{self.asked - self.corrected.labels} of the photos asked for have no label; they may differ"
        yield f"accuracy on the labelled photos alone: {in_range(self.exact)}, n = {self.exact.labels}"


def parse_labels(text: str, classes: Sequence[str]) -> dict[str, str]:
    """Read labels by photo: CSV with a line of names, or an object a line; `photo` is its SHA-256 or its `event`.

    A row without a label is not labelled yet.

    Raises:
        BadLabels: no photo, a label that is no class, two labels of one photo (it names the line), or no label at all.
    """
    found: dict[str, str] = {}
    for line, row in _rows(text):
        photo = next(filter(None, (str(row.get(name) or "").strip() for name in _NAMES)), "")
        label = str(row.get("label") or "").strip()
        if not photo:
            raise BadLabels(f"line {line} names no photo; give the columns photo (or event) and label")
        if label and label not in classes:
            raise BadLabels(f"line {line}: {label!r} is no class; it is one of {', '.join(classes)}")
        if label and found.setdefault(photo, label) != label:
            raise BadLabels(f"line {line}: photo {photo} has two labels, {found[photo]} and {label}; leave one")
    if not found:
        raise BadLabels("no photo has a label yet; fill in the column label")
    return found


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    if not text.lstrip().startswith("{"):
        rows = csv.DictReader(io.StringIO(text, newline=""))
        try:
            yield from ((rows.line_num, row) for row in rows)
        except csv.Error as error:
            raise BadLabels(f"line {rows.line_num} is no CSV ({error})") from error
        return
    for line, item in enumerate(text.splitlines(), start=1):
        if item.strip():
            try:
                yield line, msgspec.json.decode(item, type=dict[str, object])
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise BadLabels(f"line {line} is no JSON object ({error})") from error


def judge(
    seen: Iterable[Measured], labels: Mapping[str, str], asked: Asked | None, model: str, classes: Sequence[str]
) -> Labelled:
    """Hold the *model*'s answers to photos that were *seen* against their labels.

    Raises:
        BadLabels: none of the labels is of a photo that was seen with this model, or two of one photo differ.
    """
    right: dict[str, bool] = {}
    used: set[str] = set()
    for part in seen:
        if part.model == model:
            answers = part.probabilities.argmax(axis=1).tolist()
            for event, digest, answer in zip(part.events, part.hashes, answers, strict=True):
                named = {name for name in (event, digest) if name in labels}
                given = sorted({labels[name] for name in named})
                if len(given) > 1:
                    raise BadLabels(f"photo {digest} and its event {event} have other labels: {', '.join(given)}")
                if given:
                    right[event] = classes[answer] == given[0]
                    used |= named
    if not right:
        raise BadLabels(f"none of {len(labels)} labels is of a photo that the monitor saw with this model")
    return Labelled(
        labels=len(labels),
        photos=len(right),
        unknown=len(labels) - len(used),
        exact=exact(np.array(list(right.values()))),
        corrected=None if asked is None or asked.model != model else _correct(asked, right),
        asked=0 if asked is None else len(asked.events),
    )


def _correct(asked: Asked, right: Mapping[str, bool]) -> Figure | None:
    """The accuracy of all photos among which was chosen, from those of the chosen that are labelled."""
    labelled = [number for number, event in enumerate(asked.events) if event in right]
    if len(labelled) < FEWEST:
        return None
    # As if no more had been asked for: whoever labels leaves some out.
    chances = np.array(asked.chances)[labelled] * len(labelled) / len(asked.events)
    choice = Choice(np.array(asked.places)[labelled], chances)
    return correct(np.array(asked.confidence), choice, np.array([right[asked.events[number]] for number in labelled]))

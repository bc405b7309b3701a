"""Data report: what was found in the photos, as one HTML file that needs nothing else, and as figures."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from scones import __version__
from scones.data.dataset import Collection, LabelledPhoto, Twins, path_of
from scones.reports.theme import class_colours, environment

_MOST_PAIRS: Final = 30
_MOST_DOUBTS: Final = 32
_MOST_ODD: Final = 8
_EXAMPLES: Final = 16


@dataclass(frozen=True, slots=True)
class Doubt:
    """A photo whose label a model, which had not learnt from it, takes for wrong."""

    photo: LabelledPhoto
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Balance:
    """How many photos of a class learn and judge."""

    label: str
    train: int
    test: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two photos of the same picture, by their places."""

    one: str
    other: str
    likeness: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class DataFigures:
    """The report's figures, as its JSON file holds them; all lists are whole."""

    name: str
    kind: str
    version: str
    classes: tuple[Balance, ...]
    outliers: int
    left_out: tuple[tuple[str, str], ...]
    noted: tuple[tuple[str, str], ...]
    same: int
    moved: int
    leaks: tuple[Likeness, ...]
    twins: tuple[Likeness, ...]
    doubted_by: str
    """The training job whose model doubts labels; empty if there is none for these photos."""
    doubts: tuple[tuple[str, str, float], ...]
    """The photo's place, what the model takes it for, and how sure it is; the likeliest errors first."""


@dataclass(frozen=True, slots=True)
class Odd:
    """Photos with one note: how many, and the first of them."""

    note: str
    count: int
    photos: tuple[LabelledPhoto, ...]


def figures_of(collection: Collection, version: str, doubts: Sequence[Doubt], doubted_by: str) -> DataFigures:
    """Put what is known of *collection* into figures."""
    counts = Counter((photo.label, photo.split) for photo in collection.photos)
    findings = collection.findings
    return DataFigures(
        name=collection.name,
        kind=collection.kind,
        version=version,
        classes=tuple(Balance(label, counts[label, "train"], counts[label, "test"]) for label in collection.classes),
        outliers=len(collection.outliers),
        left_out=tuple((item.name, item.reason) for item in collection.left_out),
        noted=tuple((item.name, item.note) for item in findings.noted),
        same=findings.same,
        moved=findings.moved,
        leaks=_likenesses(findings.leaks),
        twins=_likenesses(findings.twins),
        doubted_by=doubted_by,
        doubts=tuple((path_of(item.photo), item.predicted, item.confidence) for item in doubts),
    )


def render_data(collection: Collection, figures: DataFigures, doubts: Sequence[Doubt]) -> str:
    """Render the report: inline styles and photos; no script, and nothing is fetched."""
    findings = collection.findings
    return (
        environment()
        .get_template("data.html.j2")
        .render(
            data=figures,
            noun="photo" if collection.kind == "photos" else "drawing",
            photos=len(collection.photos),
            train=sum(item.train for item in figures.classes),
            test=sum(item.test for item in figures.classes),
            fewest=min(item.train + item.test for item in figures.classes),
            most=max(item.train + item.test for item in figures.classes),
            examples=_examples(collection),
            leaks=findings.leaks[:_MOST_PAIRS],
            twins=findings.twins[:_MOST_PAIRS],
            odd=_odd(collection),
            doubts=doubts[:_MOST_DOUBTS],
            colour_of=class_colours(collection.classes),
            created=datetime.now(UTC),
            version=__version__,
        )
    )


def _likenesses(pairs: Sequence[Twins]) -> tuple[Likeness, ...]:
    return tuple(Likeness(path_of(pair.one), path_of(pair.other), pair.likeness, pair.mirrored) for pair in pairs)


def _examples(collection: Collection) -> tuple[LabelledPhoto, ...]:
    """Take a few photos from all over each class."""
    of_class: Mapping[str, list[LabelledPhoto]] = {label: [] for label in collection.classes}
    for photo in collection.photos:
        of_class[photo.label].append(photo)
    each = max(1, _EXAMPLES // len(of_class))
    rows = (photos[:: max(1, len(photos) // each)][:each] for photos in of_class.values())
    return tuple(photo for row in rows for photo in row)


def _odd(collection: Collection) -> tuple[Odd, ...]:
    """Gather the notes by their words; what follows them differs."""
    photos = {path_of(photo): photo for photo in collection.photos}
    found: defaultdict[str, list[LabelledPhoto]] = defaultdict(list)
    for noted in collection.findings.noted:
        found[noted.note.partition(" (")[0].partition(": ")[0]].append(photos[noted.name])
    return tuple(Odd(note, len(odd), tuple(odd[:_MOST_ODD])) for note, odd in found.items())

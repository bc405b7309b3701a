"""Dataset report: classes, duplicates, label issues and left-out files, as one HTML page and as JSON."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from scones.data.dataset import ClassCounts, Dataset, DuplicatePair, LabelledPhoto, path_of
from scones.domain import VERSION
from scones.reports.theme import class_colours, environment

_MAX_PAIRS: Final = 30
_MAX_ISSUES: Final = 32
_MAX_NOTED: Final = 8
_EXAMPLES: Final = 16


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A photo whose label a model contradicts that was not trained on it."""

    photo: LabelledPhoto
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True)
class SimilarPhotos:
    """Two near duplicates, by their paths; *similarity* is 0 to 1."""

    one: str
    other: str
    similarity: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class DatasetFigures:
    """The report's content, as its JSON file holds it; all lists are complete."""

    name: str
    kind: str
    version: str
    classes: tuple[ClassCounts, ...]
    outliers: int
    warnings: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    files_left_out: int
    notes: tuple[tuple[str, str], ...]
    """Path and remark of each unusual photo."""
    exact_duplicates: int
    reassigned: int
    leakage: tuple[SimilarPhotos, ...]
    near_duplicates: tuple[SimilarPhotos, ...]
    label_issues_by: str
    """The training job whose model checked the labels; empty if none did."""
    label_issues: tuple[tuple[str, str, float], ...]
    """The photo's path, the predicted class and its confidence; the likeliest errors first."""


@dataclass(frozen=True, slots=True)
class NotedPhotos:
    """The photos with one note: how many, and the first of them."""

    note: str
    count: int
    photos: tuple[LabelledPhoto, ...]


def dataset_figures(collection: Dataset, version: str, issues: Sequence[LabelIssue], checked_by: str) -> DatasetFigures:
    """Summarize *collection*; *checked_by* names the training job whose model found the *issues*."""
    findings = collection.findings
    return DatasetFigures(
        name=collection.name,
        kind=collection.kind,
        version=version,
        classes=collection.counts(),
        outliers=len(collection.outliers),
        warnings=collection.warnings,
        left_out=tuple((item.name, item.why) for item in collection.left_out),
        files_left_out=sum(item.files for item in collection.left_out),
        notes=tuple((item.name, item.note) for item in findings.notes),
        exact_duplicates=findings.exact_duplicates,
        reassigned=findings.reassigned,
        leakage=_similar(findings.leakage),
        near_duplicates=_similar(findings.near_duplicates),
        label_issues_by=checked_by,
        label_issues=tuple((path_of(item.photo), item.predicted, item.confidence) for item in issues),
    )


def render_dataset(collection: Dataset, figures: DatasetFigures, issues: Sequence[LabelIssue]) -> str:
    """Render the report: inline styles and photos; no script, and nothing is fetched."""
    findings = collection.findings
    return (
        environment()
        .get_template("dataset.html.j2")
        .render(
            data=figures,
            left_out=figures.left_out,
            files_left_out=figures.files_left_out,
            noun="photo" if collection.kind == "photos" else "drawing",
            photos=len(collection.photos),
            train=sum(item.train for item in figures.classes),
            test=sum(item.test for item in figures.classes),
            min_class=min(item.train + item.test for item in figures.classes),
            max_class=max(item.train + item.test for item in figures.classes),
            examples=_examples(collection),
            leakage=findings.leakage[:_MAX_PAIRS],
            near_duplicates=findings.near_duplicates[:_MAX_PAIRS],
            noted=_noted(collection),
            issues=issues[:_MAX_ISSUES],
            colour_of=class_colours(collection.classes),
            created=datetime.now(UTC),
            version=VERSION,
        )
    )


def _similar(pairs: Sequence[DuplicatePair]) -> tuple[SimilarPhotos, ...]:
    return tuple(SimilarPhotos(path_of(pair.one), path_of(pair.other), pair.likeness, pair.mirrored) for pair in pairs)


def _examples(collection: Dataset) -> tuple[LabelledPhoto, ...]:
    """A few photos from all over each class."""
    of_class: Mapping[str, list[LabelledPhoto]] = {label: [] for label in collection.classes}
    for photo in collection.photos:
        of_class[photo.label].append(photo)
    each = max(1, _EXAMPLES // len(of_class))
    rows = (photos[:: max(1, len(photos) // each)][:each] for photos in of_class.values())
    return tuple(photo for row in rows for photo in row)


def _noted(collection: Dataset) -> tuple[NotedPhotos, ...]:
    """Group the photos by their note, without its details."""
    photos = {path_of(photo): photo for photo in collection.photos}
    found: defaultdict[str, list[LabelledPhoto]] = defaultdict(list)
    for item in collection.findings.notes:
        found[item.note.partition(" (")[0].partition(": ")[0]].append(photos[item.name])
    return tuple(NotedPhotos(note, len(noted), tuple(noted[:_MAX_NOTED])) for note, noted in found.items())

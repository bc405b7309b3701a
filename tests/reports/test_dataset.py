"""The report on the data: a page that needs nothing else, and the same as figures."""

import io
import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from scones.data.dataset import (
    Dataset,
    DatasetFindings,
    DuplicatePair,
    ExcludedFile,
    ImageNote,
    LabelledPhoto,
    SourceError,
    Split,
    labelled_photo,
    path_of,
)
from scones.reports.dataset import DatasetFigures, LabelIssue, dataset_figures, render_dataset

CLASSES = ("bicycle", "motor & <b>cycle</b>")


def photo(number: int, label: str = CLASSES[0], split: Split = "train") -> LabelledPhoto:
    """A photo of its own for each number, with a name that would break a careless page."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return labelled_photo(f'été "{number}"<i>.png', label, split, stream.getvalue())


@pytest.fixture(scope="module")
def collection() -> Dataset:
    """A little of everything."""
    return some_of_everything()


def some_of_everything() -> Dataset:
    """A dataset with every kind of finding."""
    photos = tuple(
        photo(100 * place + number, label, "test" if number < 4 else "train")
        for place, label in enumerate(CLASSES)
        for number in range(12)
    )
    leaked = photo(1000)
    findings = DatasetFindings(
        notes=(ImageNote(path_of(photos[5]), "is gray"), ImageNote(path_of(photos[6]), "is small (20 x 20 pixels)")),
        exact_duplicates=2,
        leakage=(DuplicatePair(photos[0], leaked, 0.93, mirrored=True),),
        near_duplicates=(DuplicatePair(photos[5], photos[6], 0.97, mirrored=False),),
    )
    left_out = (ExcludedFile("notes<script>.txt", "is no photo"),)
    return Dataset("mine", "photos", photos, CLASSES, left_out, (photo(2000, "cups"),), findings=findings)


def render(collection: Dataset, issues: tuple[LabelIssue, ...] = (), checked_by: str = "") -> str:
    """The page."""
    return render_dataset(collection, dataset_figures(collection, "v1", issues, checked_by), issues)


def test_the_page_needs_nothing_else(collection: Dataset) -> None:
    """No script, nothing fetched; names from files are text, whatever they hold."""
    page = render(collection)
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<i>.png" not in page
    assert "<b>cycle" not in page
    assert "notes&lt;script&gt;.txt" in page


def test_every_finding_has_its_place(collection: Dataset) -> None:
    """Leaks, near duplicates, unusual photos and left-out files are listed with their figures."""
    page = " ".join(render(collection).split())
    for words in (
        "<b>24 photos</b> of 2 classes: 16 for training and 8 for testing",
        "1 training photo left out",
        "93.0% mirrored",
        "1 pair, kept",
        "1 photo: is gray",
        "1 photo: is small",
        "1 file was not used",
        "1 photo of other things",
        "The labels have not been checked yet",
    ):
        assert words in page


def test_label_issues_are_shown_with_the_prediction(collection: Dataset) -> None:
    """The label, the predicted class and its confidence; a model that contradicts no label is named, too."""
    issue = LabelIssue(collection.photos[5], CLASSES[1], 0.987)
    page = render(collection, (issue,), "job-7")
    assert "<b>motor &amp; &lt;b&gt;cycle&lt;/b&gt;</b> <span>98.7%</span>" in page
    assert "label: bicycle" in page
    assert "job-7" in page
    assert "contradicts no label" in render(collection, (), "job-7")


def test_drawings_are_called_drawings(collection: Dataset) -> None:
    """Loudly."""
    assert "These are drawings, not photos" in render(replace(collection, kind="rendered"))
    assert "These are drawings" not in render(collection)


def test_a_page_about_many_findings_stays_short(collection: Dataset) -> None:
    """What is not shown is counted; the figures hold all of it."""
    pairs = collection.findings.near_duplicates * 200
    noted = tuple(ImageNote(path_of(item), "is gray") for item in collection.photos)
    many = replace(
        collection,
        findings=replace(collection.findings, near_duplicates=pairs, notes=noted),
        left_out=tuple(ExcludedFile(f"{number}.txt", "is no photo") for number in range(3000)),
    )
    page = render(many, tuple(LabelIssue(item, CLASSES[1], 0.9) for item in many.photos * 4), "job")
    assert "and 170 more, in the JSON file beside this page" in page
    assert "and 16 more, in the JSON file beside this page" in page
    assert "and 64 more, in the JSON file beside this page" in page
    assert "The JSON file beside this page lists all of them" in page
    assert len(page) < 2_000_000


def test_the_figures_are_json_and_back(collection: Dataset) -> None:
    """With complete lists, by the photos' paths."""
    figures = dataset_figures(collection, "v1", (LabelIssue(collection.photos[5], CLASSES[1], 0.5),), "job")
    assert msgspec.json.decode(msgspec.json.encode(figures), type=DatasetFigures) == figures
    assert [(item.label, item.train, item.test) for item in figures.classes] == [(label, 8, 4) for label in CLASSES]
    assert (figures.exact_duplicates, figures.leakage[0].mirrored, figures.outliers) == (2, True, 1)


def test_a_photo_that_is_gone_is_one_clear_line(collection: Dataset) -> None:
    """Photos are read when they are shown; one that has changed is not shown as what it was."""
    changed = replace(collection.photos[0], read=lambda: b"another")
    with pytest.raises(SourceError, match="changed while it was being used"):
        render(replace(collection, photos=(changed, *collection.photos[1:])))

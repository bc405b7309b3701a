import json
from dataclasses import replace

import pytest

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import ONE_SOURCE, Dataset, ExcludedFile, Sample, SourceError, from_lines, labelled_photo
from scones.domain.naming import list_key, manifest_key, outliers_prefix, split_prefix
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.stage import stage
from tiny_model import plain_photo

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def collection() -> Dataset:
    """Eight photos, with a name that is hard on keys and manifests."""
    photos = tuple(
        labelled_photo(
            f"vélo à moi\u2028{level}.png", CLASSES[level > 100], "test" if level % 2 else "train", plain_photo(level)
        )
        for level in (10, 20, 31, 41, 150, 160, 171, 181)
    )
    return Dataset("mine", "photos", photos, CLASSES, (ExcludedFile("notes.txt", "is no photo"),))


def read_manifests(aws: Aws, version: str) -> list[Sample]:
    """Every sample of both splits."""
    both = (aws.bucket.get(manifest_key(version, split)) for split in ("train", "test"))
    return [sample for data in both for sample in from_lines(data, aws.bucket.name)]


def test_photos_lie_where_the_manifest_says(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """Each photo can be read back by its key, and its label and split are right."""
    staged = stage(aws, settings, collection, Silent())
    samples = read_manifests(aws, staged.version)
    found = {(sample.label, sample.split, aws.bucket.get(sample.key)) for sample in samples}
    assert found == {(photo.label, photo.split, photo.data) for photo in collection.photos}
    assert (staged.train, staged.test, staged.uploaded, staged.left_out) == (4, 4, 8, collection.left_out)


def test_the_manifest_is_sagemakers_augmented_form(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """One JSON object a line, with source-ref, the class's index, and metadata under the matching name."""
    staged = stage(aws, settings, collection, Silent())
    lines = aws.bucket.get(manifest_key(staged.version, "train")).decode().removesuffix("\n").split("\n")
    entry = json.loads(lines[0])
    assert entry["source-ref"].startswith(f"s3://{aws.bucket.name}/data/{staged.version}/")
    assert (entry["vehicle"], entry["vehicle-metadata"]["class-name"]) == (0, "bicycle")


def test_training_is_never_given_a_test_photo(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """The folder that training gets holds the training photos and nothing else."""
    staged = stage(aws, settings, collection, Silent())
    keys = [item.key for item in aws.bucket.list(split_prefix(staged.version, "train"))]
    assert len(keys) == 4
    assert {aws.bucket.get(key) for key in keys} == {p.data for p in collection.photos if p.split == "train"}


def test_photos_of_other_things_lie_apart(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """They are no samples of the manifest, but another set of them is another version."""
    other = labelled_photo("a cup.png", "outliers", "train", plain_photo(99))
    staged = stage(aws, settings, replace(collection, outliers=(other,)), Silent())
    assert "  and 1 photo of other things" in staged.lines()
    (item,) = aws.bucket.list(outliers_prefix(staged.version))
    assert aws.bucket.get(item.key) == other.data
    assert len(read_manifests(aws, staged.version)) == 8
    assert staged.version != stage(aws, settings, collection, Silent()).version


def test_the_same_photos_are_uploaded_once(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """The version is the content's: the same photos in another order are the same version."""
    first = stage(aws, settings, collection, Silent())
    again = stage(aws, settings, replace(collection, photos=collection.photos[::-1]), Silent())
    assert (again.version, again.uploaded) == (first.version, 0)


def test_one_relabelled_photo_is_another_version(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """Old and new lie side by side; nothing is overwritten."""
    first = stage(aws, settings, collection, Silent())
    changed = (replace(collection.photos[0], label="motorcycle"), *collection.photos[1:])
    second = stage(aws, settings, replace(collection, photos=changed), Silent())
    assert second.version != first.version
    assert aws.bucket.find(manifest_key(first.version, "train")) is not None


def test_sources_are_in_the_manifest_and_one_alone_is_a_warning(
    aws: Aws, settings: Settings, collection: Dataset
) -> None:
    """Other sources are another version, unless folders named them all along."""
    first = stage(aws, settings, collection, Silent())
    assert first.warnings == (ONE_SOURCE,)
    photos = tuple(replace(it, source="phone" if it.label == "bicycle" else "city") for it in collection.photos)
    second = stage(aws, settings, replace(collection, photos=photos), Silent())
    assert second.warnings == ()
    assert second.version != first.version
    assert {(it.label, it.source) for it in read_manifests(aws, second.version)} == {
        ("bicycle", "phone"),
        ("motorcycle", "city"),
    }


def test_an_interrupted_upload_goes_on_where_it_ended(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """The lists come last: without them nothing counts as staged, and only what is missing is uploaded."""

    def interrupted() -> bytes:
        raise KeyboardInterrupt

    photos = collection.photos
    cut = replace(collection, photos=(*photos[:5], replace(photos[5], read=interrupted), *photos[6:]))
    with pytest.raises(KeyboardInterrupt):
        stage(aws, settings, cut, Silent())
    assert not [item.key for item in aws.bucket.list("data/") if item.key.endswith((".jsonl", ".lst"))]
    there = len(list(aws.bucket.list("data/")))
    staged = stage(aws, settings, collection, Silent())
    assert staged.uploaded == 8 - there
    assert {aws.bucket.get(sample.key) for sample in read_manifests(aws, staged.version)} == {p.data for p in photos}


def test_the_lists_are_the_built_in_algorithms(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """A number, the class's index and the path below the channel's prefix, parted by tabs; names may be hard."""
    version = stage(aws, settings, collection, Silent()).version
    lines = aws.bucket.get(list_key(version, "train")).decode().removesuffix("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    assert [(number, label) for number, label, _ in rows] == [("0", "0"), ("1", "0"), ("2", "1"), ("3", "1")]
    assert rows[0][2] == "bicycle/vélo à moi\u2028" + "10.png"
    for _, _, path in rows:
        aws.bucket.get(f"{split_prefix(version, 'train')}{path}")


def test_a_photo_that_changes_meanwhile_is_noticed(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """What lies under a version is what the version names, or nothing."""
    changed = (replace(collection.photos[0], read=lambda: b"another"), *collection.photos[1:])
    with pytest.raises(SourceError, match="changed while it was being used; run it again"):
        stage(aws, settings, replace(collection, photos=changed), Silent())


def test_staging_again_leaves_a_workflow_standing(own_flow: Pipeline, collection: Dataset) -> None:
    """A stack that is up is not brought back to its foundation."""
    before = own_flow.aws.stack.find()
    stage(own_flow.aws, own_flow.settings, collection, Silent())
    assert own_flow.aws.stack.find() == before

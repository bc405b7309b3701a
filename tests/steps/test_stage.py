import json
from dataclasses import replace

import pytest

from scones.aws.connection import Aws
from scones.flow import Flow
from scones.manifest import from_lines, manifest_key, outliers_prefix, split_prefix
from scones.photos.source import Collection, LabelledPhoto, LeftOut
from scones.progress import Silent
from scones.steps.stage import stage
from tiny_model import plain_photo

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Eight photos, with a name that is hard on keys and manifests."""
    photos = tuple(
        LabelledPhoto(
            f"vélo à moi\u2028{level}.png", CLASSES[level > 100], "test" if level % 2 else "train", plain_photo(level)
        )
        for level in (10, 20, 31, 41, 150, 160, 171, 181)
    )
    return Collection("mine", "photos", photos, CLASSES, (LeftOut("notes.txt", "is no photo"),))


def test_photos_lie_where_the_manifest_says(aws: Aws, collection: Collection) -> None:
    """Each photo can be read back by its key, and its label and split are right."""
    staged = stage(aws, collection, Silent())
    samples = from_lines(aws.bucket.get(manifest_key(staged.version)), aws.bucket.name)
    found = {(sample.label, sample.split, aws.bucket.get(sample.key)) for sample in samples}
    assert found == {(photo.label, photo.split, photo.data) for photo in collection.photos}
    assert (staged.train, staged.test, staged.uploaded, staged.left_out) == (4, 4, 8, collection.left_out)


def test_the_manifest_is_sagemakers_augmented_form(aws: Aws, collection: Collection) -> None:
    """One JSON object a line, with source-ref, the class's index, and metadata under the matching name."""
    staged = stage(aws, collection, Silent())
    lines = aws.bucket.get(manifest_key(staged.version)).decode().removesuffix("\n").split("\n")
    entry = json.loads(lines[0])
    assert entry["source-ref"].startswith(f"s3://{aws.bucket.name}/data/{staged.version}/")
    assert (entry["vehicle"], entry["vehicle-metadata"]["class-name"]) == (0, "bicycle")


def test_training_is_never_given_a_test_photo(aws: Aws, collection: Collection) -> None:
    """The folder that training gets holds the training photos and nothing else."""
    staged = stage(aws, collection, Silent())
    keys = [item.key for item in aws.bucket.list(split_prefix(staged.version, "train"))]
    assert len(keys) == 4
    assert {aws.bucket.get(key) for key in keys} == {p.data for p in collection.photos if p.split == "train"}


def test_photos_of_other_things_lie_apart(aws: Aws, collection: Collection) -> None:
    """They are no samples of the manifest, but another set of them is another version."""
    other = LabelledPhoto("a cup.png", "outliers", "train", plain_photo(99))
    staged = stage(aws, replace(collection, outliers=(other,)), Silent())
    (item,) = aws.bucket.list(outliers_prefix(staged.version))
    assert aws.bucket.get(item.key) == other.data
    assert len(from_lines(aws.bucket.get(manifest_key(staged.version)), aws.bucket.name)) == 8
    assert staged.version != stage(aws, collection, Silent()).version


def test_the_same_photos_are_uploaded_once(aws: Aws, collection: Collection) -> None:
    """The version is the content's: the same photos in another order are the same version."""
    first = stage(aws, collection, Silent())
    again = stage(aws, replace(collection, photos=collection.photos[::-1]), Silent())
    assert (again.version, again.uploaded) == (first.version, 0)


def test_one_relabelled_photo_is_another_version(aws: Aws, collection: Collection) -> None:
    """Old and new lie side by side; nothing is overwritten."""
    first = stage(aws, collection, Silent())
    changed = (replace(collection.photos[0], label="motorcycle"), *collection.photos[1:])
    second = stage(aws, replace(collection, photos=changed), Silent())
    assert second.version != first.version
    assert aws.bucket.find(manifest_key(first.version)) is not None


def test_an_upload_that_was_cut_off_is_done_again(aws: Aws, collection: Collection) -> None:
    """The manifest comes last: without it the version does not count as staged."""
    staged = stage(aws, collection, Silent())
    aws.bucket._client.call("delete_object", Bucket=aws.bucket.name, Key=manifest_key(staged.version))
    assert stage(aws, collection, Silent()).uploaded == 8


def test_staging_again_leaves_a_workflow_standing(own_flow: Flow, collection: Collection) -> None:
    """A stack that is up is not brought back to its foundation."""
    before = own_flow.aws.stack.find()
    stage(own_flow.aws, collection, Silent())
    assert own_flow.aws.stack.find() == before

"""Staging with labels makes the next version of the data; a person's photo can be deleted from all of them."""

import hashlib
from dataclasses import replace

import pytest

from conftest import create_labels_table
from data.test_growth import photo, staged
from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Sample, from_lines, labelled_photo
from scones.data.labels import NOT_A_VEHICLE, Label
from scones.domain.naming import list_key, manifest_key, outliers_prefix, report_key
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.pipeline import Pipeline
from scones.steps.stage import NotAPhotoId, stage

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture
def flow(aws: Aws, settings: Settings) -> Pipeline:
    """An environment with staged photos and a table of labels, and without the rest of the workflow."""
    save_result(aws, "stage", stage(aws, settings, staged(), Silent()))
    create_labels_table(aws)
    return Pipeline(aws, settings, Silent())


def label(flow: Pipeline, data: bytes, said: str) -> str:
    """Upload a photo, label it, and return its id."""
    sha = hashlib.sha256(data).hexdigest()
    uri = flow.aws.bucket.put(f"asked/{sha}.png", data)
    assert flow.aws.tables.labels.add(Label(sha, said, "ann", "2026-11-01T00:00:00Z", uri=uri, event="e1"))
    return sha


def samples(flow: Pipeline, version: str) -> list[Sample]:
    """The training photos of a version."""
    return list(from_lines(flow.aws.bucket.get(manifest_key(version, "train")), flow.aws.bucket.name))


def test_a_version_with_labels_names_who_labelled_each_photo_and_is_made_once(flow: Pipeline) -> None:
    """It is whole: the photos before, the labelled ones, and the same test photos; again, it is the same version."""
    first = flow.samples()
    new, cup = label(flow, photo(100), "motorcycle"), label(flow, photo(101), NOT_A_VEHICLE)
    grown = flow.stage(with_labels=True)
    assert (grown.train, grown.test, grown.labelled, grown.left_out) == (21, 4, 2, ())
    assert grown.base != grown.version
    (one,) = [it for it in samples(flow, grown.version) if it.provenance]
    assert one.provenance
    assert (one.label, one.provenance.photo, one.provenance.by, one.provenance.event) == (
        "motorcycle",
        new,
        "ann",
        "e1",
    )
    assert flow.aws.bucket.get(one.key) == photo(100)
    assert [it.key.rpartition("/")[2] for it in first if it.split == "test"] == [
        it.key.rpartition("/")[2] for it in flow.samples() if it.split == "test"
    ]
    assert any(cup in item.key for item in flow.aws.bucket.list(outliers_prefix(grown.version)))
    flow.aws.bucket.purge([f"asked/{new}.png"])
    again = flow.stage(with_labels=True)
    assert (again.version, again.uploaded, again.labelled) == (grown.version, 0, 2)


def test_a_forgotten_photo_leaves_every_version_and_never_comes_back(flow: Pipeline) -> None:
    """Also its older object versions, its place in the lists, and the pages that may show it."""
    new, cup = label(flow, photo(100), "motorcycle"), label(flow, photo(101), NOT_A_VEHICLE)
    version = flow.stage(with_labels=True).version
    others = [it for it in samples(flow, version) if not it.provenance]
    found = flow.forget(new)
    assert (found.versions, found.models, found.elsewhere) == ((version,), (), ())
    left = {item.key: flow.aws.bucket.get(item.key) for item in flow.aws.bucket.list()}
    assert photo(100) not in left.values()
    assert samples(flow, version) == others
    assert new.encode() not in left[list_key(version, "train")]
    assert report_key(version, "html") not in left
    every = flow.aws.client("s3").call("list_object_versions", Bucket=flow.aws.bucket.name)["Versions"]
    assert [it["Key"] for it in every if new in it["Key"]] == []
    flow.aws.bucket.put(f"asked/{new}.png", photo(100))
    again = flow.stage(with_labels=True)
    assert [it for it in samples(flow, again.version) if it.provenance] == []
    assert flow.forget(cup).versions == tuple(sorted((version, again.version)))
    assert flow.forget(cup).objects == 0


def test_a_photo_of_the_source_is_forgotten_too(flow: Pipeline) -> None:
    """Staging its source again leaves it out."""
    sha = staged().photos[5].sha256
    before = flow._staged().version
    assert flow.forget(sha.upper()).versions == (before,)
    again = stage(flow.aws, flow.settings, staged(), Silent())
    assert again.train == 19
    extra = replace(staged(), outliers=(labelled_photo("cup.png", "outliers", "train", photo(5)),))
    assert list(flow.aws.bucket.list(outliers_prefix(stage(flow.aws, flow.settings, extra, Silent()).version))) == []


@pytest.mark.parametrize("given", ["", "photo.png", "abc", "g" * 64, "../" * 20])
def test_what_is_no_photo_id_is_refused(flow: Pipeline, given: str) -> None:
    """A typing error must not delete, or remember, anything."""
    with pytest.raises(NotAPhotoId, match="64 hexadecimal digits"):
        flow.forget(given)

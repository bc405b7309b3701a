"""Releases that come and go: kept three deep, gone back to one by one, whatever is cut off in between."""

from dataclasses import replace
from pathlib import Path

import pytest

from scones.aws.records import recall, remember
from scones.aws.releases import ReleaseUnreadable, keep, releases
from scones.aws.sagemaker import UpdateRolledBack
from scones.errors import NothingYet
from scones.flow import Flow
from scones.steps.deploy import Deployed
from scones.steps.rollback import NothingToGoBackTo
from scones.steps.train import Trained
from tiny_model import tar, write_tiny_artefact


def train(flow: Flow, folder: Path) -> None:
    """Put another trained and approved model where `deploy` looks for it."""
    write_tiny_artefact(folder)
    (folder / "NOTE.txt").write_text(folder.name)
    uri = flow.aws.bucket.put(f"models/{folder.name}/output/model.tar.gz", tar(folder))
    remember(flow.aws.bucket, "train", Trained(folder.name, uri, "test", flow.settings.classes, {}, 0.0))
    flow.approve()


def live(flow: Flow) -> str:
    """The configuration that serves."""
    found = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert found is not None
    assert found.status == "InService"
    return found.config


def hosted(flow: Flow) -> tuple[set[str], set[str]]:
    """The configurations and the models that stand."""
    sagemaker, prefix = flow.aws.sagemaker, flow.aws.prefix
    return set(sagemaker.configs(prefix)), set(sagemaker.models(prefix))


def test_three_releases_are_kept_and_gone_back_to_one_by_one(own_flow: Flow, tmp_path: Path) -> None:
    """A fourth drops the first, with its configuration and its model; the third rollback has nothing to go back to."""
    deployed = [own_flow.deploy()]
    for name in ("second", "third", "fourth"):
        train(own_flow, tmp_path / name)
        deployed.append(own_flow.deploy())
    assert [(item.release, item.package) for item in deployed] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    kept = deployed[1:]
    assert [release.number for release in releases(own_flow.aws.bucket)] == [2, 3, 4]
    assert hosted(own_flow) == ({item.config for item in kept}, {item.model for item in kept})
    for wanted in (kept[1], kept[0]):
        assert own_flow.rollback() == wanted
        assert live(own_flow) == wanted.config
        assert recall(own_flow.aws.bucket, "deploy", Deployed, "") == wanted
    with pytest.raises(NothingToGoBackTo, match="release 2 is the first"):
        own_flow.rollback()
    assert hosted(own_flow) == ({kept[0].config}, {kept[0].model})
    # What was left may come again, as a new release.
    assert own_flow.deploy().release == 5
    assert live(own_flow) == kept[2].config


def test_what_was_cut_off_is_brought_to_its_end(own_flow: Flow, tmp_path: Path) -> None:
    """A deploy that did not end leaves the release before it as the one to go back to; so does a rollback."""
    bucket, first = own_flow.aws.bucket, own_flow.deploy()
    train(own_flow, tmp_path / "second")
    second = own_flow.deploy()
    newest = releases(bucket)[-1]
    # A rollback that ended after its first step, then one that ended before its last.
    keep(bucket, newest, finished=False)
    assert own_flow.rollback() == first
    keep(bucket, newest, finished=False)
    assert own_flow.rollback() == first
    assert live(own_flow) == first.config
    assert [release.number for release in releases(bucket)] == [1]
    # A deploy that ended before its last step: the endpoint serves, and nobody wrote that down.
    again = own_flow.deploy()
    assert (again.config, again.release) == (second.config, 3)
    keep(bucket, releases(bucket)[-1], finished=False)
    assert own_flow.deploy() == replace(again, release=4)
    assert [release.number for release in releases(bucket)] == [1, 4]


def test_a_rejected_model_is_not_gone_back_to(own_flow: Flow, tmp_path: Path) -> None:
    """It is passed over; where only such are left there is nothing to go back to, and all stays as it is."""
    first = own_flow.deploy()
    for name in ("second", "third"):
        train(own_flow, tmp_path / name)
        third = own_flow.deploy()
    own_flow.approve(2, "it confuses scooters", reject=True)
    own_flow.approve(1, "it, too", reject=True)
    with pytest.raises(NothingToGoBackTo):
        own_flow.rollback()
    assert (live(own_flow), len(releases(own_flow.aws.bucket))) == (third.config, 3)
    own_flow.approve(1)
    assert own_flow.rollback() == first


def test_an_old_release_that_does_not_start_any_more_leaves_the_new_one(own_flow: Flow, tmp_path: Path) -> None:
    """The rollback is rolled back, and may be tried again once the old model is mended."""
    first = own_flow.deploy()
    train(own_flow, tmp_path / "second")
    second = own_flow.deploy()
    key = own_flow.aws.bucket.key(first.model_uri)
    archive = own_flow.aws.bucket.get(key)
    own_flow.aws.bucket.put(key, b"damaged meanwhile")
    with pytest.raises(UpdateRolledBack):
        own_flow.rollback()
    assert live(own_flow) == second.config
    assert [release.finished for release in releases(own_flow.aws.bucket)] == [True, True]
    own_flow.aws.bucket.put(key, archive)
    assert own_flow.rollback() == first


def test_without_an_endpoint_or_a_readable_release_it_says_so(own_flow: Flow) -> None:
    """A damaged record is named; with no endpoint, so is the verb to run."""
    own_flow.aws.bucket.put("releases/000001.json", b"{")
    with pytest.raises(ReleaseUnreadable, match=r"releases/000001\.json"):
        own_flow.rollback()
    own_flow.aws.sagemaker.delete_endpoint(own_flow.aws.name)
    own_flow.aws.bucket.remove(["releases/000001.json"])
    with pytest.raises(NothingYet, match="scones deploy"):
        own_flow.rollback()

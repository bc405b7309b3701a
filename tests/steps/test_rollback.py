"""Releases that come and go: kept three deep, gone back to one by one, whatever is cut off in between."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from access_keys import KEY, KEYS
from faulty import Fault, before
from scones.aws.client import Client, wait
from scones.aws.connection import connect
from scones.aws.hosting import choose_hosting
from scones.aws.sagemaker import UpdateRolledBack
from scones.deployment.releases import ReleaseUnreadable, list_releases, save_release
from scones.deployment.template import image_uri
from scones.domain.errors import MissingPrerequisite
from scones.domain.progress import Silent
from scones.environment import load_result, save_result
from scones.pipeline import Pipeline
from scones.steps.deploy import DeployResult
from scones.steps.rollback import NoPreviousRelease
from scones.steps.train import TrainingResult
from tiny_model import tar, write_tiny_model_file


def train(flow: Pipeline, folder: Path) -> None:
    """Put another trained and approved model where `deploy` looks for it."""
    write_tiny_model_file(folder)
    (folder / "NOTE.txt").write_text(folder.name)
    uri = flow.aws.bucket.put(f"models/{folder.name}/output/model.tar.gz", tar(folder))
    save_result(flow.aws, "train", TrainingResult(folder.name, uri, "test", flow.settings.classes, {}, 0.0))
    flow.approve()


def live(flow: Pipeline) -> str:
    """The configuration that serves."""
    found = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert found is not None
    assert found.status == "InService"
    return found.config


def hosted(flow: Pipeline) -> tuple[set[str], set[str]]:
    """The configurations and the models that stand."""
    sagemaker, prefix = flow.aws.sagemaker, flow.aws.prefix
    return set(sagemaker.configs(prefix)), set(sagemaker.models(prefix))


def test_three_releases_are_kept_and_gone_back_to_one_by_one(own_flow: Pipeline, tmp_path: Path) -> None:
    """A fourth drops the first, with its configuration and its model; the third rollback has nothing to go back to."""
    deployed = [own_flow.deploy()]
    for name in ("second", "third", "fourth"):
        train(own_flow, tmp_path / name)
        deployed.append(own_flow.deploy())
    assert [(item.release, item.package) for item in deployed] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    kept = deployed[1:]
    assert [release.number for release in list_releases(own_flow.aws.bucket)] == [2, 3, 4]
    assert hosted(own_flow) == ({item.config for item in kept}, {item.model for item in kept})
    for wanted in (kept[1], kept[0]):
        assert own_flow.rollback() == wanted
        assert live(own_flow) == wanted.config
        assert load_result(own_flow.aws, "deploy", DeployResult) == wanted
    with pytest.raises(NoPreviousRelease, match="release 2 is the oldest"):
        own_flow.rollback()
    assert hosted(own_flow) == ({kept[0].config}, {kept[0].model})
    # What was left may come again, as a new release.
    assert own_flow.deploy().release == 5
    assert live(own_flow) == kept[2].config


@pytest.mark.slow
def test_what_was_cut_off_is_brought_to_its_end(own_flow: Pipeline, tmp_path: Path) -> None:
    """A deploy that did not end leaves the release before it as the one to go back to; so does a rollback."""
    bucket, first = own_flow.aws.bucket, own_flow.deploy()
    train(own_flow, tmp_path / "second")
    second = own_flow.deploy()
    newest = list_releases(bucket)[-1]
    # A rollback that ended after its first step, then one that ended before its last.
    save_release(bucket, newest, finished=False)
    assert own_flow.rollback() == first
    save_release(bucket, newest, finished=False)
    assert own_flow.rollback() == first
    assert live(own_flow) == first.config
    assert [release.number for release in list_releases(bucket)] == [1]
    # A deploy that ended before its last step: the endpoint serves, and that was not recorded.
    again = own_flow.deploy()
    assert (again.config, again.release) == (second.config, 3)
    save_release(bucket, list_releases(bucket)[-1], finished=False)
    assert own_flow.deploy() == replace(again, release=4)
    assert [release.number for release in list_releases(bucket)] == [1, 4]


@pytest.mark.slow
def test_a_rejected_model_is_not_gone_back_to(own_flow: Pipeline, tmp_path: Path) -> None:
    """It is passed over, as is one whose configuration is gone; where only such are left, all stays as it is."""
    first = own_flow.deploy()
    for name in ("second", "third"):
        train(own_flow, tmp_path / name)
        third = own_flow.deploy()
    own_flow.approve(2, "it confuses scooters", reject=True)
    own_flow.approve(1, "it, too", reject=True)
    with pytest.raises(NoPreviousRelease):
        own_flow.rollback()
    assert (live(own_flow), len(list_releases(own_flow.aws.bucket))) == (third.config, 3)
    own_flow.approve(1)
    own_flow.aws.sagemaker.delete_config(first.config)
    with pytest.raises(NoPreviousRelease):
        own_flow.rollback()
    own_flow.approve(2)
    assert own_flow.rollback().package == 2


def test_one_goes_back_to_a_named_release_past_a_rejected_one_or_hears_in_a_line_why_not(
    own_flow: Pipeline, tmp_path: Path
) -> None:
    """Whatever else is named leaves the endpoint and the records as they are."""
    bucket, first = own_flow.aws.bucket, own_flow.deploy()
    for name in ("second", "third"):
        train(own_flow, tmp_path / name)
        third = own_flow.deploy()
    own_flow.approve(2, "it confuses scooters", reject=True)
    file = bucket.get(key := bucket.key(first.model_uri))
    newest = list_releases(bucket)[-1]
    save_release(bucket, replace(newest, number=4), finished=False)
    refusals = {
        2: "its model 2 is no longer approved: it confuses scooters",
        4: "its deployment has not ended",
        9: "it does not exist, .*; kept: 1, 2, 3, 4",
        0: "it does not exist",
    }
    for number, why in refusals.items():
        with pytest.raises(NoPreviousRelease, match=f"^cannot return to release {number}: {why}"):
            own_flow.rollback(number)
    bucket.remove(["releases/000004.json"])
    with pytest.raises(NoPreviousRelease, match=r"^cannot return to release 3: it is live"):
        own_flow.rollback(3)
    bucket.remove([key])
    with pytest.raises(NoPreviousRelease, match=r"^cannot return to release 1: the file of model 1 is gone"):
        own_flow.rollback(1)
    bucket.put(key, file)
    assert (live(own_flow), len(list_releases(bucket))) == (third.config, 3)
    assert own_flow.rollback(1, now=True) == first
    assert live(own_flow) == first.config
    assert [release.number for release in list_releases(bucket)] == [1]
    package = own_flow.aws.registry.get(1)
    own_flow.aws.sagemaker._client.call("delete_model_package", ModelPackageName=package.arn)
    own_flow.deploy(3)
    with pytest.raises(NoPreviousRelease, match="its model 1 is no longer in the registry"):
        own_flow.rollback(1)


@pytest.mark.slow
def test_a_release_whose_image_is_gone_is_not_gone_back_to(own_flow: Pipeline, tmp_path: Path) -> None:
    """SageMaker could not start it; that is found out before the endpoint is touched."""
    own_flow.deploy()
    train(own_flow, tmp_path / "second")
    second = own_flow.deploy()
    tag = image_uri(own_flow.aws).rpartition(":")[2]
    registry = Client(own_flow.settings, "ecr", KEYS)
    registry.call("batch_delete_image", repositoryName=own_flow.aws.name, imageIds=[{"imageTag": tag}])
    with pytest.raises(NoPreviousRelease):
        own_flow.rollback()
    assert (live(own_flow), len(list_releases(own_flow.aws.bucket))) == (second.config, 2)
    own_flow.image()
    assert own_flow.rollback().release == 1


@pytest.mark.slow
def test_an_old_release_that_does_not_start_any_more_leaves_the_new_one(own_flow: Pipeline, tmp_path: Path) -> None:
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
    assert [release.finished for release in list_releases(own_flow.aws.bucket)] == [True, True]
    own_flow.aws.bucket.put(key, archive)
    assert own_flow.rollback() == first


def test_an_update_that_was_rolled_back_in_silence_is_told(own_flow: Pipeline, tmp_path: Path) -> None:
    """SageMaker takes the update, and the endpoint is in service as before, without a word why: that is no success."""
    first = own_flow.deploy()
    train(own_flow, tmp_path / "second")
    taken = Fault("status", 200, b'{"EndpointArn": "arn"}', operation="UpdateEndpoint")
    with before(int(str(own_flow.settings.endpoint_url).rpartition(":")[2]), [taken]) as stand:
        settings = replace(own_flow.settings, endpoint_url=stand.url)
        flow = Pipeline(connect(settings, KEYS), settings, Silent())
        with pytest.raises(UpdateRolledBack, match="gave no reason"):
            flow.deploy()
        assert not stand.faults
        assert [release.number for release in list_releases(own_flow.aws.bucket)] == [1]
        assert hosted(own_flow) == ({first.config}, {first.model})
        second = flow.deploy()
        stand.faults.append(taken)
        with pytest.raises(UpdateRolledBack, match="gave no reason"):
            flow.rollback()
    assert live(own_flow) == second.config
    assert own_flow.rollback() == first


def test_an_endpoint_says_when_it_may_be_deleted(own_flow: Pipeline) -> None:
    """With `endpoint_lifetime_hours`, again from every deploy on; without, no more."""
    found = own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name)
    assert found is not None
    assert tags(own_flow, found.arn) == {"scones:env": own_flow.aws.name}
    hours = replace(own_flow.settings, endpoint_lifetime_hours=2)
    Pipeline(own_flow.aws, hours, Silent()).deploy()
    expires = datetime.fromisoformat(tags(own_flow, found.arn)["scones:expires"])
    assert timedelta(hours=1.9) < expires - datetime.now(UTC) <= timedelta(hours=2)
    own_flow.deploy()
    assert tags(own_flow, found.arn) == {"scones:env": own_flow.aws.name}


@pytest.mark.slow
def test_an_endpoint_that_scales_stops_for_an_update_and_scales_again(own_flow: Pipeline, tmp_path: Path) -> None:
    """Another instance type is refused of what is scaled, and no obstacle to deploy, rollback or down."""
    assert not own_flow.aws.scaling.exists()
    scaled = replace(own_flow.settings, endpoint_max_instances=3)
    flow = Pipeline(own_flow.aws, scaled, Silent())
    flow.deploy()
    assert own_flow.aws.scaling.exists()
    train(own_flow, tmp_path / "second")
    Pipeline(own_flow.aws, replace(scaled, endpoint_instance="ml.m5.xlarge"), Silent()).deploy()
    flow.rollback()
    assert f"scalable-target {own_flow.aws.scaling.name}" in flow.status().resources
    Pipeline(own_flow.aws, own_flow.settings, Silent()).deploy()
    assert not own_flow.aws.scaling.exists()
    flow.deploy()
    assert flow.down().remaining == ()
    assert not own_flow.aws.scaling.exists()


@pytest.mark.slow
def test_a_fleet_that_has_grown_is_not_made_smaller_by_an_update(own_flow: Pipeline) -> None:
    """Where it was scaled, and only there; SageMaker is then asked to keep the count."""
    hosting = choose_hosting(own_flow.settings, "s3://b/capture", "alarm")
    assert own_flow.aws.scaling.pause(hosting, 4) == hosting
    own_flow.aws.scaling.configure(replace(own_flow.settings, endpoint_max_instances=4))
    grown = own_flow.aws.scaling.pause(hosting, 4)
    assert grown.update() == {**hosting.update(), "RetainAllVariantProperties": True}
    own_flow.aws.scaling.configure(replace(own_flow.settings, endpoint_max_instances=4))
    assert own_flow.aws.scaling.pause(hosting, 1) == hosting


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["deploy", "rollback"])
def test_a_command_killed_in_the_midst_is_finished_by_the_next(own_flow: Pipeline, tmp_path: Path, verb: str) -> None:
    """`kill -9` while SageMaker updates the endpoint: the same command again waits for that, and goes on."""
    first = own_flow.deploy()
    train(own_flow, tmp_path / "second")
    if verb == "rollback":
        own_flow.deploy()
    kill_while_updating(own_flow, tmp_path, verb)
    assert list_releases(own_flow.aws.bucket)[-1].finished is False
    done = own_flow.deploy() if verb == "deploy" else own_flow.rollback()
    assert live(own_flow) == done.config
    assert (done == first) is (verb == "rollback")
    left = list_releases(own_flow.aws.bucket)
    assert all(release.finished for release in left)
    assert left[-1].config == done.config


def kill_while_updating(flow: Pipeline, folder: Path, verb: str) -> None:
    """Run `scones VERB` as a process of its own, and kill it once the endpoint is being updated."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "SCONES_ENV": flow.aws.env,
        "SCONES_BAKING_SECONDS": "3",
        "SCONES_STATE": str(folder / "state"),
        "AWS_ENDPOINT_URL": str(flow.settings.endpoint_url),
        "AWS_ACCESS_KEY_ID": KEY.key_id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret,
        "AWS_REGION": flow.aws.region,
    }
    process = subprocess.Popen([Path(sys.executable).with_name("scones"), verb], env=environment, cwd=folder)
    try:

        def updating() -> bool | None:
            found = flow.aws.sagemaker.find_endpoint(flow.aws.name)
            return True if found and found.status == "Updating" else None

        wait("the update beginning", updating, 60)
    finally:
        process.kill()
        process.wait()


def tags(flow: Pipeline, arn: str) -> dict[str, str]:
    """What a resource carries."""
    found = flow.aws.sagemaker._client.call("list_tags", ResourceArn=arn)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_without_an_endpoint_or_a_readable_release_it_says_so(own_flow: Pipeline) -> None:
    """A damaged record is named; with no endpoint, so is the verb to run."""
    own_flow.aws.bucket.put("releases/000001.json", b"{")
    with pytest.raises(ReleaseUnreadable, match=r"releases/000001\.json"):
        own_flow.rollback()
    own_flow.aws.sagemaker.delete_endpoint(own_flow.aws.name, Silent().tell)
    own_flow.aws.bucket.remove(["releases/000001.json"])
    with pytest.raises(MissingPrerequisite, match="scones deploy"):
        own_flow.rollback()

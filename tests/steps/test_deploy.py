from dataclasses import replace
from pathlib import Path

import pytest

from scones.aws.registry import ApprovalStatus, ModelPackage
from scones.aws.sagemaker import UpdateRolledBack
from scones.domain.decision import Outcome
from scones.domain.progress import Silent
from scones.model.model_file import MODEL
from scones.pipeline import Pipeline
from scones.steps.approve import approve, register
from scones.steps.deploy import OtherClasses, deploy
from tiny_model import plain_photo, tar, write_tiny_model_file


class Heard(Silent):
    """A reporter that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Keep one."""
        self.lines.append(line)


def another_model(flow: Pipeline, folder: Path, *, damaged: bool = False) -> ModelPackage:
    """Put a second model into the bucket, approved; a damaged one differs from its checksums since then."""
    write_tiny_model_file(folder)
    (folder / "NOTE.txt").write_text("another archive")
    key = f"models/{folder.name}/output/model.tar.gz"
    package = register(flow.aws, flow.settings, flow.aws.bucket.put(key, tar(folder)), Silent())
    if damaged:
        with (folder / MODEL).open("ab") as file:
            file.write(b"\0")
        flow.aws.bucket.put(key, tar(folder))
    return approve(flow.aws, package.number, ApprovalStatus.APPROVED, "for the test", Silent())


def test_deploying_the_same_model_again_changes_nothing(own_flow: Pipeline) -> None:
    """No new configuration, no update: the endpoint that serves is left alone."""
    before = own_flow.aws.sagemaker.configs(own_flow.aws.prefix)
    assert own_flow.deploy() == own_flow.deploy()
    assert own_flow.aws.sagemaker.configs(own_flow.aws.prefix) == before


def test_a_new_model_takes_over_the_endpoint(own_flow: Pipeline, tmp_path: Path) -> None:
    """The same endpoint, another configuration; photos go on being classified."""
    package = another_model(own_flow, tmp_path / "second")
    first = own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name)
    deployed = deploy(own_flow.aws, own_flow.settings, package, Silent())
    live = own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name)
    assert first
    assert live
    assert first.config != live.config == deployed.config
    ended = own_flow.classify_samples([own_flow.upload("a.png", plain_photo(220))])
    assert ended.count(Outcome.CLASSIFIED) == 1


def test_a_model_of_other_classes_is_deployed_only_after_the_functions_know_them(own_flow: Pipeline) -> None:
    """Before, nothing is changed; in between, the photo of the smoke test is not sent, since it could only fail."""
    heard = Heard()
    three = replace(own_flow.settings, classes=(*own_flow.settings.classes, "scooter"))
    before = own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name)
    with pytest.raises(
        OtherClasses, match=r"predicts bicycle, motorcycle, scooter, but .* expect bicycle, motorcycle; run"
    ):
        deploy(own_flow.aws, three, own_flow.registered(), Silent())
    assert own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name) == before
    grown = Pipeline(own_flow.aws, three, heard)
    grown.up()
    assert grown.smoke() is None
    assert "smoke test skipped: the model in service predicts other classes; run: scones deploy" in heard.lines
    with pytest.raises(OtherClasses, match=r"predicts bicycle, motorcycle, but the functions expect .*, scooter; run"):
        own_flow.deploy()


def test_with_a_key_the_endpoint_is_deployed_again_and_names_it(own_flow: Pipeline) -> None:
    """Its configuration of before named none: another one captures, and writes to its disk, by the key."""
    with_key = Pipeline(own_flow.aws, replace(own_flow.settings, kms="yes"), Silent())
    before = own_flow.deploy()
    # The local cloud cannot tell that a bucket whose encryption changes stays what it is; AWS can.
    with_key.up(replace_data=True)
    after = with_key.deploy()
    assert (before.model, before.config != after.config) == (after.model, True)
    found = own_flow.aws.sagemaker._client.call("describe_endpoint_config", EndpointConfigName=after.config)
    key = own_flow.aws.stack.find_output("KeyArn")
    assert (found["KmsKeyId"], found["DataCaptureConfig"]["KmsKeyId"]) == (key, key)


def test_a_damaged_model_never_serves_and_the_old_one_goes_on(own_flow: Pipeline, tmp_path: Path) -> None:
    """The error says so; the endpoint answers with the model it had."""
    package = another_model(own_flow, tmp_path / "damaged", damaged=True)
    with pytest.raises(UpdateRolledBack, match="checksum"):
        deploy(own_flow.aws, own_flow.settings, package, Silent())
    ended = own_flow.classify_samples([own_flow.upload("a.png", plain_photo(220))])
    assert ended.count(Outcome.CLASSIFIED) == 1


def test_the_running_instances_of_an_endpoint_are_known(flow: Pipeline) -> None:
    """One instance of the settings' type: what is paid for by the hour."""
    live = flow.aws.sagemaker.find_endpoint(flow.aws.name)
    assert live
    assert flow.aws.sagemaker.instances(live) == {flow.settings.endpoint_instance: 1}

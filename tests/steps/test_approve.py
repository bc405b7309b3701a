"""The registry: what it says of a model, who lets it out, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import stage_test_photos
from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus, NoSuchModel, RegistryTaken
from scones.config.settings import Settings
from scones.deployment.cleanup import inventory
from scones.deployment.template import base_template
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.approve import approve, register
from scones.steps.deploy import NotApproved, deploy
from scones.steps.down import down
from scones.steps.evaluate import EvaluationOptions
from tiny_model import tar, write_tiny_model_file


@pytest.fixture
def model_uri(aws: Aws, tmp_path: Path) -> str:
    """A model in the bucket of a foundation; one in ten of its out-of-fold answers is wrong."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, Silent().tell)
    write_tiny_model_file(tmp_path / "model")
    return aws.bucket.put("models/job/output/model.tar.gz", tar(tmp_path / "model"))


LENIENT = {"gate_accuracy": 0.8, "gate_calibration_error": 0.2, "gate_coverage": 0.5, "gate_accuracy_covered": 0.8}


def test_a_model_that_passes_the_gate_is_approved_with_its_lineage(
    aws: Aws, settings: Settings, model_uri: str
) -> None:
    """The data's and the code's version, the seed and the accuracy stand in the registry; the figures in the bucket."""
    lenient = replace(settings, **LENIENT)  # type: ignore[arg-type]
    found = register(aws, lenient, model_uri, Silent())
    assert (found.number, found.approval, found.model_uri) == (1, ApprovalStatus.APPROVED, model_uri)
    assert "n = 400" in found.reason
    assert {"data-version": "test", "seed": "0", "n": "400"}.items() <= found.properties.items()
    assert found.properties["code-version"].startswith("scones-")
    figures = json.loads(aws.bucket.get("models/job/output/out-of-fold.json"))
    assert figures["multiclass_classification_metrics"]["accuracy"]["value"] == figures["scones"]["accuracy"]
    assert found.properties["accuracy-out-of-fold"] == f"{figures['scones']['accuracy']:.4f}"
    # Twice is once.
    assert register(aws, lenient, model_uri, Silent()) == found
    assert aws.registry.numbers() == [1]


def test_a_model_below_a_floor_waits_and_is_not_deployed(aws: Aws, settings: Settings, model_uri: str) -> None:
    """The refusal says which floor it misses, and how to approve it all the same; a rejected one is refused alike."""
    waiting = register(aws, settings, model_uri, Silent())
    assert waiting.approval is ApprovalStatus.PENDING
    with pytest.raises(NotApproved, match=rf"is not approved.*gate_accuracy.*scones approve 1 --env {aws.env}"):
        deploy(aws, settings, waiting, Silent())
    rejected = aws.registry.decide(waiting, ApprovalStatus.REJECTED, "it confuses scooters")
    with pytest.raises(NotApproved, match="rejected: it confuses scooters"):
        deploy(aws, settings, rejected, Silent())
    assert aws.sagemaker.find_endpoint(aws.name) is None
    assert aws.sagemaker.configs(aws.prefix) == []


def test_a_registration_that_was_cut_off_is_completed(aws: Aws, settings: Settings, model_uri: str) -> None:
    """Entered, and not judged: the next time it is judged, and not entered again."""
    found = register(aws, settings, model_uri, Silent())
    aws.registry.decide(found, ApprovalStatus.PENDING, "")
    assert register(aws, settings, model_uri, Silent()) == found


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_rejection_without_a_reason_is_kept(aws: Aws, settings: Settings, model_uri: str, reason: str) -> None:
    """A later `scones deploy` does not judge the model again."""
    lenient = replace(settings, **LENIENT)  # type: ignore[arg-type]
    found = approve(aws, register(aws, lenient, model_uri, Silent()).number, ApprovalStatus.REJECTED, reason, Silent())
    assert (found.approval, found.reason) == (ApprovalStatus.REJECTED, "no reason was given")
    assert register(aws, lenient, model_uri, Silent()) == found


def test_a_number_that_is_not_there_is_named_with_those_that_are(aws: Aws, settings: Settings, model_uri: str) -> None:
    """Of a registry with one model, and of none."""
    with pytest.raises(NoSuchModel, match="registered: none"):
        aws.registry.get(1)
    register(aws, settings, model_uri, Silent())
    with pytest.raises(NoSuchModel, match=r"no model 7 .* registered: 1;"):
        aws.registry.get(7)


def test_a_registry_of_another_stack_is_left_alone(aws: Aws, settings: Settings, model_uri: str) -> None:
    """A group of our name that lacks our tag: nothing is entered there, and `down` neither lists nor deletes it."""
    client = aws.registry._client
    client.call("create_model_package_group", ModelPackageGroupName=aws.name)
    with pytest.raises(RegistryTaken, match=aws.name):
        register(aws, settings, model_uri, Silent())
    assert [item for item in inventory(aws) if item.startswith("model-package")] == []
    assert down(aws, Silent()).remaining == ()
    assert client.call("describe_model_package_group", ModelPackageGroupName=aws.name)
    client.call("delete_model_package_group", ModelPackageGroupName=aws.name)


def test_the_gate_at_the_endpoint_rejects_the_model_that_serves(own_flow: Pipeline, tmp_path: Path) -> None:
    """Four photos prove nothing: the model is rejected, with the failed requirements, and is not deployed again."""
    stage_test_photos(own_flow)
    own_flow.evaluate(EvaluationOptions(tmp_path / "report.html"))
    assert own_flow.registered().approval is ApprovalStatus.APPROVED
    own_flow.evaluate(EvaluationOptions(tmp_path / "report.html", gate=True))
    found = own_flow.registered()
    assert (found.approval, "gate_accuracy" in found.reason) == (ApprovalStatus.REJECTED, True)
    with pytest.raises(NotApproved, match="gate_accuracy"):
        own_flow.deploy()

"""An ONNX model made elsewhere, from its file to an endpoint that is monitored and explained."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from access_keys import KEYS
from conftest import put_away
from foreign_models import CLASSES, drawings, network
from scones.aws.connection import connect
from scones.aws.registry import ApprovalStatus
from scones.config.settings import Settings
from scones.domain.decision import Outcome
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.evaluate import EvaluationOptions
from scones.training.registration import CannotRegister


def write_photos(folder: Path, train: int, test: int) -> Path:
    """Drawings as a user has them: train/ and test/, each with a folder a class."""
    for split, count in (("train", train), ("test", test)):
        for name, photos in zip(CLASSES, drawings("train" if split == "train" else "test", count), strict=True):
            (folder / split / name).mkdir(parents=True)
            for number, photo in enumerate(photos):
                Image.fromarray(photo).save(folder / split / name / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_foreign_model_is_registered_deployed_monitored_and_explained(settings: Settings, tmp_path: Path) -> None:
    """By the same commands as a model that Scones trained."""
    flow = Pipeline(connect(settings, KEYS), replace(settings, threshold=0.5), Silent())
    try:
        model = tmp_path / "model.onnx"
        model.write_bytes(network().SerializeToString())
        photos = write_photos(tmp_path / "photos", train=40, test=12)
        with pytest.raises(CannotRegister, match="--classes bicycle,motorcycle"):
            flow.register(model, photos, ["motorcycle", "bicycle"])
        made = flow.register(model, photos, list(CLASSES))
        assert made.classes == CLASSES
        assert made.metrics["oof_accuracy"] > 0.8
        assert flow.registered().number == made.package == 1
        flow.approve(reason="by hand")
        flow.up()
        assert flow.deploy().package == made.package
        classified = flow.classify()
        outcomes = {execution.outcome for execution in classified.executions}
        assert len(classified.executions) == 24
        assert outcomes <= {Outcome.CLASSIFIED, Outcome.BELOW_THRESHOLD, Outcome.OUT_OF_DISTRIBUTION}
        evaluated = flow.evaluate(EvaluationOptions(ood=True))
        assert evaluated.metrics.n == 24
        assert evaluated.ood is not None
        watched = flow.monitor(at_least=24)
        assert (watched.photos, watched.prediction_check.another_model) == (24, False)
        execution = classified.executions[0].name
        assert flow.replay(execution).differences == ()
        page = tmp_path / "explained.html"
        assert flow.explain({execution: ""}, page).photos == 1
        assert "without any" in page.read_text() or "of the photo the prediction would be" in page.read_text()
        assert "most similar training photos" in page.read_text()
        assert flow.registered().approval is ApprovalStatus.APPROVED
    finally:
        put_away(flow.aws)

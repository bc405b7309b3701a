from dataclasses import replace
from pathlib import Path

import pytest

from scones.artefact import read_artefact, unpack
from scones.aws.connection import Aws
from scones.aws.sagemaker import TrainingFailed
from scones.aws.waiting import wait
from scones.flow import Flow
from scones.photos.collection import Collection, photo_of
from scones.progress import Silent
from scones.settings import Settings
from scones.steps.stage import stage
from scones.steps.train import METRICS, train
from tiny_model import plain_photo


class Watching(Silent):
    """Remembers how far the job said it was."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def progress(self, done: int, total: int, what: str) -> None:
        """Remember."""
        del what
        self.shares.append(done / total)


@pytest.mark.slow
def test_a_job_gives_a_model_its_metrics_and_its_progress(aws: Aws, settings: Settings, tmp_path: Path) -> None:
    """The artefact in the bucket is whole and names its data; SageMaker reports every metric; the bar moves."""
    watching = Watching()
    short = replace(settings, epochs=2)
    staged = Flow(aws, short, Silent()).stage()
    trained = train(aws, short, staged.version, watching)
    assert set(trained.metrics) == set(METRICS)
    assert watching.shares == sorted(watching.shares)
    assert watching.shares[-1] == 1
    folder = tmp_path / "model"
    unpack(aws.bucket.get(aws.bucket.key(trained.model_uri)), folder)
    artefact = read_artefact(folder)
    assert (artefact.classes, artefact.data_version) == (settings.classes, staged.version)


def test_a_job_that_fails_says_why(aws: Aws, settings: Settings) -> None:
    """The reason that the training program wrote reaches the user in one line."""
    photos = tuple(photo_of(f"{level}.png", "bicycle", "train", plain_photo(level)) for level in range(10))
    staged = stage(aws, Collection("one-sided", "photos", photos, settings.classes), Silent())
    with pytest.raises(TrainingFailed, match="motorcycle"):
        train(aws, settings, staged.version, Silent())


def test_a_job_that_nobody_waits_for_is_stopped(aws: Aws, settings: Settings) -> None:
    """Ctrl-C while waiting: the job does not go on, and on AWS does not go on costing."""

    class Impatient(Silent):
        def progress(self, done: int, total: int, what: str) -> None:
            del done, total, what
            raise KeyboardInterrupt

    staged = Flow(aws, settings, Silent()).stage()
    with pytest.raises(KeyboardInterrupt):
        train(aws, settings, staged.version, Impatient())
    wait("the job ending", lambda: None if list(aws.sagemaker.running_trainings(aws.prefix)) else True, 20)

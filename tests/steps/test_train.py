import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from access_keys import KEYS
from scones.aws.client import Client, CredentialsRefused, wait
from scones.aws.connection import Aws
from scones.aws.sagemaker import TrainingFailed
from scones.config.settings import Settings
from scones.data.dataset import Dataset, labelled_photo
from scones.data.sources.synthetic import render
from scones.deployment.checks import QuotaTooSmall
from scones.deployment.template import image_source
from scones.domain.errors import SettingsError
from scones.domain.progress import Silent
from scones.environment import load_result
from scones.model.model_file import METRICS, read_model_file, unpack
from scones.pipeline import Pipeline
from scones.steps.stage import stage
from scones.steps.train import TrainingResult, train
from tiny_model import plain_photo


class Watching(Silent):
    """Remembers how far the job said it was."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Remember."""
        del what, now
        self.shares.append(done / total)


class Telling(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Remember."""
        self.lines.append(line)


@pytest.mark.slow
def test_a_job_gives_a_model_its_metrics_and_its_progress(aws: Aws, settings: Settings, tmp_path: Path) -> None:
    """The model file in the bucket is whole and names its data; SageMaker reports every metric; the bar moves.

    The sample has no outliers of which some could be accepted. Nothing is left for a later job to go on from.
    """
    watching = Watching()
    short = replace(settings, image_size=64)
    staged = Pipeline(aws, short, Silent()).stage()
    trained = train(aws, short, staged.version, watching)
    assert set(trained.metrics) == set(METRICS) - {"oof_outliers_accepted", "new_source_accuracy"}
    assert list(aws.bucket.list("checkpoints/")) == []
    assert watching.shares == sorted(watching.shares)
    assert watching.shares[-1] == 1
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{trained.job}"
    tags = Client(settings, "sagemaker", KEYS).call("list_tags", ResourceArn=arn)["Tags"]
    assert tags == [{"Key": "scones:env", "Value": aws.name}]
    folder = tmp_path / "model"
    unpack(aws.bucket.get(aws.bucket.key(trained.model_uri)), folder)
    model_file = read_model_file(folder)
    assert (model_file.classes, model_file.data_version) == (settings.classes, staged.version)


@pytest.mark.slow
def test_what_was_trained_has_its_number_in_the_registry(aws: Aws, settings: Settings) -> None:
    """The command's result and what is remembered of it name the model that `approve` and `deploy` take."""
    flow = Pipeline(aws, replace(settings, image_size=64), Silent())
    flow.stage()
    trained = flow.train()
    assert aws.registry.get(trained.package).model_uri == trained.model_uri
    assert load_result(aws, "train", TrainingResult) == trained


@pytest.mark.slow
def test_a_folder_of_ordinary_photos_trains_at_96_pixels(aws: Aws, settings: Settings, tmp_path: Path) -> None:
    """JPEGs that are not square, some of them gray or lying on their side: most are told apart."""
    for label in settings.classes:
        folder = tmp_path / "courier photos" / label
        folder.mkdir(parents=True)
        for number in range(80):
            photo = render(label, "train", number).convert("L" if number % 20 == 0 else "RGB").resize((160, 120))
            upright = Image.Exif()
            if number % 10 == 1:
                photo, upright[0x0112] = photo.rotate(90, expand=True), 6
            photo.save(folder / f"déjà vu {number}.jpg", quality=90, exif=upright)
    short = replace(settings, data=str(tmp_path / "courier photos"), image_size=96)
    staged = Pipeline(aws, short, Silent()).stage()
    trained = train(aws, short, staged.version, Silent())
    assert staged.train + staged.test > 140
    assert trained.metrics["oof_accuracy"] > 0.8


@pytest.mark.parametrize("data", [None, b"", b"no model"])
def test_a_backbone_that_cannot_be_read_is_refused_before_a_job(
    aws: Aws, settings: Settings, tmp_path: Path, data: bytes | None
) -> None:
    """By the setting and the file's name; nothing is uploaded."""
    path = tmp_path / "mine.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"setting backbone: .*mine\.onnx cannot be used"):
        train(aws, replace(settings, backbone=str(path)), "v", Silent())
    assert not any(aws.bucket.list("data/backbones/"))


def test_a_job_that_fails_says_why(aws: Aws, settings: Settings) -> None:
    """The reason that the training program wrote reaches the user in one line."""
    settings = replace(settings, kms="yes")
    photos = tuple(labelled_photo(f"{level}.png", "bicycle", "train", plain_photo(level)) for level in range(10))
    staged = stage(aws, settings, Dataset("one-sided", "photos", photos, settings.classes), Silent())
    with pytest.raises(TrainingFailed, match="motorcycle") as told:
        train(aws, replace(settings, spot_wait_seconds=600), staged.version, Silent())
    # With a key from the first photo on, which the job names for all that it writes.
    key = aws.stack.find_output("KeyArn")
    asked = aws.sagemaker._client.call("describe_training_job", TrainingJobName=told.value.job)
    assert (asked["OutputDataConfig"]["KmsKeyId"], asked["ResourceConfig"]["VolumeKmsKeyId"]) == (key, key)
    assert str(told.value).endswith("run: scones train, which continues from the last checkpoint")
    # Asked for with the wait that Spot needs; what it goes on from is kept.
    assert (asked["EnableManagedSpotTraining"], asked["StoppingCondition"]["MaxWaitTimeInSeconds"]) == (True, 4200)
    assert asked["CheckpointConfig"]["S3Uri"].startswith(aws.bucket.uri("checkpoints/"))


@pytest.mark.slow
def test_an_interrupted_job_is_stopped_and_its_progress_is_kept(aws: Aws, settings: Settings) -> None:
    """Ctrl-C while waiting: on AWS it does not go on costing; the same training goes on from it, another does not."""

    class Impatient(Silent):
        def progress(self, done: int, total: int, what: str, now: str = "") -> None:
            del done, total, what, now
            raise KeyboardInterrupt

    staged = Pipeline(aws, settings, Silent()).stage()
    short = replace(settings, image_size=64)
    with pytest.raises(KeyboardInterrupt):
        train(aws, short, staged.version, Impatient())
    wait("the job ending", lambda: None if list(aws.sagemaker.running_trainings(aws.prefix)) else True, 60)
    kept = {item.key for item in aws.bucket.list("checkpoints/")}
    assert kept
    other, same = Telling(), Telling()
    train(aws, replace(short, seed=1), staged.version, other)
    assert {item.key for item in aws.bucket.list("checkpoints/")} == kept
    train(aws, short, staged.version, same)
    assert list(aws.bucket.list("checkpoints/")) == []
    words = "this training was interrupted before: it continues from its checkpoints"
    assert (words in other.lines, words in same.lines) == (False, True)


@pytest.mark.slow
def test_a_job_that_is_no_longer_waited_for_is_found_again(aws: Aws, settings: Settings) -> None:
    """Expired credentials end the wait, not the job: the price is named, and the next call collects the same model."""

    class LosingContact(Silent):
        def progress(self, done: int, total: int, what: str, now: str = "") -> None:
            del done, total, what, now
            raise CredentialsRefused("ExpiredToken")

    staged = Pipeline(aws, settings, Silent()).stage()
    short = replace(settings, image_size=64)
    with pytest.raises(CredentialsRefused) as stopped:
        train(aws, short, staged.version, LosingContact())
    (note,) = stopped.value.__notes__
    found = re.fullmatch(
        r"training job (\S+) continues in the account and costs \$0\.\d+ an hour .*: scones train", note
    )
    assert found
    again = Telling()
    assert train(aws, short, staged.version, again).job == found[1]
    assert again.lines[0] == f"training job {found[1]} was started before: waiting for it"
    # What was collected is not found again.
    assert list(aws.bucket.list("checkpoints/")) == []


def test_a_new_account_without_training_instances_builds_nothing(aws: Aws, settings: Settings) -> None:
    """`train` reads its quota first: one line, no image build and no job."""
    flow = Pipeline(aws, replace(settings, training_instance="ml.p3.2xlarge"), Silent())
    flow.stage()
    client = Client(settings, "service-quotas", KEYS)
    name = "ml.p3.2xlarge for training job usage"
    pages = client.pages("list_service_quotas", ServiceCode="sagemaker")
    (code,) = [item["QuotaCode"] for page in pages for item in page["Quotas"] if item["QuotaName"] == name]
    client.call("request_service_quota_increase", ServiceCode="sagemaker", QuotaCode=code, DesiredValue=0)
    with pytest.raises(QuotaTooSmall, match=rf"ml.p3.2xlarge for training is 0: request more of {code}"):
        flow.train()
    assert not list(aws.images.running())
    assert aws.images.digest(image_source().tag) is None
    assert not list(aws.sagemaker.running_trainings(aws.prefix))

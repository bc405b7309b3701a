"""Train: run a training job on the staged photos, and wait for its model."""

import hashlib
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scones.aws.client import continues, wait
from scones.aws.cloudwatch import TrainingLog
from scones.aws.connection import Aws
from scones.aws.sagemaker import TrainingFailed, TrainingPlan, TrainingStatus, training_request
from scones.config.settings import Settings
from scones.data.dataset import NO_NEW_SOURCE
from scones.data.sources.files import user_path
from scones.deployment.pricing import instance_price
from scones.deployment.template import image_uri
from scones.domain.errors import CloudError, SettingsError
from scones.domain.naming import (
    ENV_TAG,
    MODELS_PREFIX,
    backbone_key,
    checkpoint_prefix,
    manifest_key,
    outliers_prefix,
    split_prefix,
    version_prefix,
)
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import printable
from scones.model.graph import ForbiddenGraph, check_graph
from scones.model.model_file import METRICS

_EXPECTED = re.compile(r"\bseconds_expected=(\d+)\b")
_PROGRESS = re.compile(r"\bprogress=([01]\.\d+)\b")


@dataclass(frozen=True, slots=True)
class TrainingResult(StepResult):
    """The trained model and its metrics."""

    FIGURE = ("metrics", "name", "value")

    job: str
    model_uri: str
    data_version: str
    classes: tuple[str, ...]
    metrics: dict[str, float]
    seconds: float
    package: int = 0
    """The model's number in the registry; 0 until it is registered."""


def train(aws: Aws, settings: Settings, version: str, report: Reporter) -> TrainingResult:
    """Train on the data *version*, in a new job or in the one that an earlier command no longer waits for.

    A new job continues from the checkpoints of an interrupted one. Ctrl-C stops the job, a lost connection does not.

    Raises:
        TrainingFailed: with the job's reason.
        ContactLost: AWS gave no usable reply for ten minutes; the job continues, and the next call waits for it.
    """
    plan = _plan(aws, settings, version)
    kept = aws.bucket.key(plan.checkpoint_uri) + "/"
    started = time.monotonic()
    plan = _begin(aws, plan, kept, report)
    limit = f"until it ends, at most {plan.max_seconds / 3600:.1f} hours after its start"
    price = f"costs {instance_price(plan.instance, 1)} {limit}"
    note = f"training job {plan.job} continues in the account and {price}; to wait for it again, run: scones train"
    try:
        with continues(note):
            ended = _follow(aws, plan, report)
    except KeyboardInterrupt as error:
        error.__notes__ = [_stopped(aws, plan.job) or note]
        raise
    if ended.status != "Completed":
        raise TrainingFailed(plan.job, ended.status, ended.reason)
    # The next training of this kind starts from the beginning.
    aws.bucket.remove([item.key for item in aws.bucket.list(kept)])
    seconds = time.monotonic() - started
    report.tell(f"trained {plan.job} in {seconds:.0f} s")
    if "new_source_accuracy" not in ended.metrics:
        report.tell(f"warning: {NO_NEW_SOURCE}")
    return TrainingResult(plan.job, ended.model_uri, version, settings.classes, dict(ended.metrics), seconds)


def prepare_training(aws: Aws, settings: Settings, version: str, job: str) -> dict[str, Any]:
    """Build the request of the training *job* on the data *version*, for a state machine to send."""
    return training_request(replace(_plan(aws, settings, version), job=job))


def _begin(aws: Aws, plan: TrainingPlan, kept: str, report: Reporter) -> TrainingPlan:
    """Start the job, unless one of this kind runs, or has ended without anyone collecting its model."""
    checkpoints = any(aws.bucket.list(kept))
    found = aws.sagemaker.find_training(aws.prefix, plan.checkpoint_uri)
    # The checkpoints of a job are deleted when its model is collected.
    if found and (not found.ended or checkpoints):
        report.tell(f"training job {found.job} was started before: waiting for it")
        return replace(plan, job=found.job)
    if checkpoints:
        report.tell("this training was interrupted before: it continues from its checkpoints")
    aws.sagemaker.start_training(plan)
    return plan


def _stopped(aws: Aws, job: str) -> str:
    """Stop the job, which is billed by the second; what that means, or nothing if it could not be stopped."""
    try:
        aws.sagemaker.stop_training(job)
    except (CloudError, KeyboardInterrupt):
        return ""
    return f"training job {job} is stopping; scones train continues from its checkpoints"


def _plan(aws: Aws, settings: Settings, version: str) -> TrainingPlan:
    job = f"{aws.prefix}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    backbone, channels = settings.backbone, _channels(aws, version)
    if backbone.endswith(".onnx"):
        key = _upload_backbone(aws, user_path(backbone))
        backbone, channels["backbone"] = key.rpartition("/")[2], key
    hyperparameters = {
        "classes": ",".join(settings.classes),
        "image_size": str(settings.image_size),
        "backbone": backbone,
        "seed": str(settings.seed),
        "max_photos": str(settings.training_photos),
        "data_version": version,
    }
    return TrainingPlan(
        job=job,
        image=image_uri(aws),
        role=aws.stack.find_output("TrainingRoleArn"),
        channels={name: aws.bucket.uri(prefix) for name, prefix in channels.items()},
        output_uri=aws.bucket.uri(MODELS_PREFIX.rstrip("/")),
        checkpoint_uri=aws.bucket.uri(checkpoint_prefix(_kind(image_uri(aws), hyperparameters))),
        hyperparameters=hyperparameters,
        instance=settings.training_instance,
        max_seconds=settings.training_seconds,
        spot_wait_seconds=settings.spot_wait_seconds,
        key=aws.stack.key(),
        # A training job prints them as `name=value`; SageMaker stores the last values.
        metrics={name: rf"\b{name}=([0-9.e+-]+)" for name in METRICS},
        tags={ENV_TAG: aws.name},
        volume_gb=volume_gb(sum(item.size for item in aws.bucket.list(version_prefix(version)))),
    )


def _upload_backbone(aws: Aws, path: Path) -> str:
    """Upload the user's own backbone, unless it is there; its key, which ends with its hash."""
    try:
        data = path.read_bytes()
        check_graph(data)
    except (OSError, ForbiddenGraph) as error:
        raise SettingsError(f"setting backbone: {printable(str(path))} cannot be used: {error}") from error
    key = backbone_key(hashlib.sha256(data).hexdigest())
    if not any(aws.bucket.list(key)):
        aws.bucket.put(key, data)
    return key


def volume_gb(staged_bytes: int) -> int:
    """The disk of a job: its photos, the same decoded (JPEG files are a tenth of it, at most 3 GB), and the rest."""
    return max(10, math.ceil((staged_bytes + min(10 * staged_bytes, 3e9)) / 1e9) + 5)


def _kind(image: str, hyperparameters: Mapping[str, str]) -> str:
    """Identify trainings with the same result: by code, data and hyperparameters."""
    return hashlib.sha256(repr((image, sorted(hyperparameters.items()))).encode()).hexdigest()[:16]


def _channels(aws: Aws, version: str) -> dict[str, str]:
    """SageMaker rejects empty channels, and not all data has outliers."""
    channels = {
        "training": split_prefix(version, "train"),
        "manifest": manifest_key(version, "train"),
        "outliers": outliers_prefix(version),
    }
    return {name: prefix for name, prefix in channels.items() if name == "training" or any(aws.bucket.list(prefix))}


def _follow(aws: Aws, plan: TrainingPlan, report: Reporter) -> TrainingStatus:
    log = aws.logs.training(plan.job)

    def ended() -> TrainingStatus | None:
        training = aws.sagemaker.training(plan.job)
        _show_progress(log, plan.max_seconds, report)
        return training if training.ended else None

    # SageMaker stops a job at its limit; the rest is for its start and its upload.
    return wait(f"training job {plan.job} ending", ended, plan.max_seconds + plan.spot_wait_seconds + 1800)


def _show_progress(log: TrainingLog, max_seconds: int, report: Reporter) -> None:
    for line in log.new_lines():
        if expected := _EXPECTED.search(line):
            seconds = int(expected[1])
            late = f", longer than training_seconds = {max_seconds}, after which it is stopped; raise it"
            report.tell(
                f"training takes about {max(1, round(seconds / 60))} min{late if seconds > max_seconds else ''}"
            )
        share = _PROGRESS.search(line)
        if share:
            report.progress(int(100 * float(share[1])), 100, "percent trained")

"""Retrainings: the record of each, which says why it began, what it made, and how it ended.

A record says which phase is next, so that a command, or an execution of the state machine, goes on where another was
interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from scones.aws.connection import Aws
from scones.data.growth import LabelledTraffic, provenance_of_name
from scones.data.labels import NOT_A_VEHICLE, Label
from scones.domain.naming import (
    FORGOTTEN_KEY,
    RETRAIN_SKIPPED_KEY,
    RETRAININGS_PREFIX,
    outliers_prefix,
    result_key,
    to_iso8601,
)
from scones.domain.result import StepResult
from scones.evaluation.challenge import Challenge

_KEY: Final = result_key("retrain")


class Phase(StrEnum):
    """What a retraining does next."""

    STAGE = "stage"
    TRAIN = "train"
    COMPARE = "compare"
    APPROVE = "approve"
    DEPLOY = "deploy"
    WATCH = "watch"
    ENDED = "ended"


class RetrainingOutcome(StrEnum):
    """How a retraining ended."""

    RUNNING = "running"
    DEPLOYED = "deployed"
    REFUSED = "refused"
    """By the gate: the new model is worse, or may be."""
    DECLINED = "declined"
    """By a person, or because it was not decided in time."""
    ROLLED_BACK = "rolled back"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Retraining(StepResult):
    """One retraining: why it started, what it made, and how it ended."""

    id: str
    reason: str
    by: str
    started: str
    champion: int
    """The number of the model that was live when it started."""
    champion_uri: str
    phase: Phase = Phase.STAGE
    execution: str = ""
    """The execution of the state machine; empty if a command runs it."""
    data_version: str = ""
    labels: int = 0
    """The labels of the traffic in the data."""
    job: str = ""
    model_uri: str = ""
    challenger: int = 0
    dollars: float = 0.0
    """What its training costs on AWS."""
    comparison: Challenge | None = None
    token: str = ""
    """What the execution waits for while a person decides."""
    outcome: RetrainingOutcome = RetrainingOutcome.RUNNING
    why: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Labels that the live model has not learned, and those of them that came since the last retraining began."""

    unlearned: int
    since_last: int


def count_new_labels(aws: Aws, data_version: str, labels: Sequence[Label], last: Retraining | None) -> NewLabels:
    """Count those of all *labels* that a model trained on *data_version* has not learned."""
    if not labels:
        return NewLabels(0, 0)
    bucket = aws.bucket
    samples = aws.training_samples(data_version)
    names = (item.key.rpartition("/")[2] for item in bucket.list(outliers_prefix(data_version)))
    learned = {it.provenance.photo: it.label for it in samples if it.provenance}
    learned |= {it.photo: NOT_A_VEHICLE for name in names if (it := provenance_of_name(name))}
    wanted = LabelledTraffic.of(labels, bucket.find_json(FORGOTTEN_KEY) or ()).learn
    known = {it.sha256: it.label for it in samples}
    new = [it for photo, it in wanted.items() if learned.get(photo, known.get(photo)) != it.label]
    return NewLabels(len(new), sum(last is None or it.when > last.started for it in new))


def current(aws: Aws) -> Retraining | None:
    """The newest retraining; None if there was none, or an earlier version of Scones wrote it in another form."""
    body = aws.bucket.find(_KEY)
    return None if body is None else _read(body)


def _read(body: bytes) -> Retraining | None:
    try:
        return msgspec.json.decode(body, type=Retraining)
    except msgspec.ValidationError:
        return None


def history(aws: Aws) -> list[Retraining]:
    """Every retraining that began, the oldest first."""
    keys = [item.key for item in aws.bucket.list(RETRAININGS_PREFIX)]
    return [found for body in aws.bucket.get_all(keys) if (found := _read(body))]


def save(aws: Aws, retraining: Retraining) -> Retraining:
    """Save the newest state of a retraining."""
    body = msgspec.json.encode(retraining)
    aws.bucket.put(f"{RETRAININGS_PREFIX}{retraining.id}.json", body, "application/json")
    aws.bucket.put(_KEY, body, "application/json")
    return retraining


@dataclass(frozen=True, slots=True)
class SkippedRetraining:
    """A retraining that the schedule or an alarm asked for, and why it did not begin."""

    when: str
    reason: str
    why: str


def skip(aws: Aws, reason: str, why: str) -> None:
    """Record why a retraining did not begin."""
    body = msgspec.json.encode(SkippedRetraining(to_iso8601(datetime.now(UTC)), reason, why))
    aws.bucket.put(RETRAIN_SKIPPED_KEY, body, "application/json")


def skipped(aws: Aws) -> SkippedRetraining | None:
    """The last one that did not begin, if any."""
    body = aws.bucket.find(RETRAIN_SKIPPED_KEY)
    return None if body is None else msgspec.json.decode(body, type=SkippedRetraining)

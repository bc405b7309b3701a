"""Naming: the bucket's keys, resource tags, ids of internal requests, and timestamps.

| prefix | content |
|---|---|
| `data/VERSION/` | staged photos, their manifests and the dataset report |
| `models/JOB/` | model files, as training jobs write them |
| `checkpoints/` | checkpoints of training jobs |
| `asked/` | photos that `scones classify` uploads |
| `incoming/` | photos that start an execution when they are put there |
| `labelled/` | photos that a person labelled, by their SHA-256 |
| `capture/` | data capture of the endpoint, by hour |
| `batches/RUN/` | manifests and results of batch runs |
| `monitor/` | state, history, baselines, results and alerts of the monitor |
| `releases/` | the endpoint's releases |
| `retrainings/` | every retraining, by its start |
| `flow/` | the newest result of each step, and the lock |
| `code/`, `image/` | function code, long templates and the source of the container image |
"""

from datetime import UTC, datetime
from typing import Final

ASKED_PREFIX: Final = "asked/"
INCOMING_PREFIX: Final = "incoming/"
DATA_PREFIX: Final = "data/"
MODELS_PREFIX: Final = "models/"
BATCHES_PREFIX: Final = "batches/"
READABLE_PREFIXES: Final = (ASKED_PREFIX, DATA_PREFIX)
"""The prefixes that a user may classify: the functions may read them."""

LABELLED_PREFIX: Final = "labelled/"
LOCK_KEY: Final = "flow/lock.json"
PLAN_KEY: Final = "dispatch/plan.json"
FORGOTTEN_KEY: Final = "flow/forgotten.json"
"""The SHA-256 of the photos that were deleted for good; staging leaves them out."""
RETRAININGS_PREFIX: Final = "retrainings/"
RETRAIN_SKIPPED_KEY: Final = "flow/retrain-skipped.json"
"""Why the last retraining that the schedule or an alarm asked for did not start."""


def labelled_key(sha256: str) -> str:
    """A photo that a person labelled."""
    return f"{LABELLED_PREFIX}{sha256}"


def result_key(step: str) -> str:
    """The newest result of a step."""
    return f"flow/{step}.json"


def code_key(name: str) -> str:
    """Function code or a template, under a name with the hash of its content."""
    return f"code/{name}"


def image_source_key(tag: str) -> str:
    """The source of the container image with this tag."""
    return f"image/{tag}.zip"


def checkpoint_prefix(kind: str) -> str:
    """Checkpoints of trainings of one kind: the same code, data and hyperparameters."""
    return f"checkpoints/{kind}"


# Staged data: each version below its own prefix.


def version_prefix(version: str) -> str:
    """Everything of a data version."""
    return f"{DATA_PREFIX}{version}/"


def backbone_key(sha256: str) -> str:
    """A backbone of the user's, an ONNX file, by its hash; training may read what lies below `data/`."""
    return f"{DATA_PREFIX}backbones/{sha256}.onnx"


def manifest_key(version: str, split: str) -> str:
    """The manifest of one split of a data version."""
    return f"{version_prefix(version)}{split}.jsonl"


def list_key(version: str, split: str) -> str:
    """The list of one split, for SageMaker's built-in image classification."""
    return f"{version_prefix(version)}{split}.lst"


def report_key(version: str, form: str) -> str:
    """The dataset report of a data version; *form* is `html` or `json`."""
    return f"{version_prefix(version)}report.{form}"


def split_prefix(version: str, split: str) -> str:
    """The photos of one split, one folder per class: training reads `train`, and never `test`."""
    return f"{version_prefix(version)}{split}/"


def outliers_prefix(version: str) -> str:
    """Photos of other things, on which the out-of-distribution detector is trained; no manifest lists them."""
    return f"{version_prefix(version)}outliers/"


# Releases.

RELEASES_PREFIX: Final = "releases/"
RELEASE_NUMBER_KEY: Final = "flow/release-number.json"
"""The highest number that a release was ever given."""


def release_key(number: int) -> str:
    """The record of a release; the digits make the listing sort by number."""
    return f"{RELEASES_PREFIX}{number:06d}.json"


# Data capture.

CAPTURE_FOLDER: Final = "capture"


def capture_prefix(endpoint: str, variant: str) -> str:
    """The captured requests and answers of an endpoint, by hour; SageMaker sets the form."""
    return f"{CAPTURE_FOLDER}/{endpoint}/{variant}/"


# The monitor.

MONITOR_STATE_KEY: Final = "monitor/state.json"
LABEL_SAMPLE_KEY: Final = "monitor/labels/asked.json"
"""The photos that were last chosen to be labelled."""


def observed_prefix(endpoint: str) -> str:
    """Everything that the monitor keeps of an endpoint that Scones did not make, below its own keys' names."""
    return f"monitor/observed/{endpoint}/"


def history_prefix(endpoint: str) -> str:
    """The windows of all monitoring runs of an endpoint, one object per run."""
    return f"monitor/history/{endpoint}/"


def features_prefix(endpoint: str) -> str:
    """The photo features that the monitoring runs of an endpoint measured, one object per run."""
    return f"monitor/measured/{endpoint}/"


def run_suffix(moment: datetime) -> str:
    """The name of a monitoring run's objects, so that they sort by time."""
    return f"{moment:%Y/%m/%d/%H%M%S}"


def baseline_key(name: str) -> str:
    """A baseline document, in Model Monitor's format."""
    return f"monitor/baseline/{name}"


def learned_baseline_key(model: str) -> str:
    """The baseline learned from the traffic of a model's version."""
    return f"monitor/days/{model}.npz"


def monitor_results_key(endpoint: str, moment: datetime, name: str) -> str:
    """A document of one monitoring run, in Model Monitor's format."""
    return f"monitor/results/{endpoint}/{moment:%Y/%m/%d/%H/%M-%S}/{name}"


ALERTS_PREFIX: Final = "monitor/alerts/"


def alert_key(moment: datetime, form: str) -> str:
    """An alert; *form* is `html` or `json`."""
    return f"{ALERTS_PREFIX}{moment:%Y%m%d-%H%M%S}.{form}"


ENV_TAG: Final = "scones:env"
"""The stack's name, on the stack and on every resource that CloudFormation creates for it."""
EXPIRES_TAG: Final = "scones:expires"
"""When the endpoint may be deleted: ISO 8601, in UTC."""

_EVALUATION = "scones-evaluation-"
_BATCH = "scones-batch-"
_PROBE = "scones-canary-"
_DIGITS = 16
MAX_INFERENCE_ID_CHARACTERS: Final = 64
"""SageMaker's limit of an inference id."""


def evaluation_id(sha256: str) -> str:
    """The inference id of a photo that an evaluation sends."""
    return _EVALUATION + sha256[:_DIGITS]


def probe_id(sha256: str) -> str:
    """The inference id of a photo that the monitor sends to check the endpoint's predictions."""
    return _PROBE + sha256[:_DIGITS]


def batch_id(digest: str) -> str:
    """The inference id of a batch: old photos in bulk are not today's traffic. SageMaker allows 64 characters."""
    return _BATCH + digest


def is_internal(inference_id: str | None) -> bool:
    """Whether an evaluation, a batch or the monitor sent the request, so that it does not count as traffic.

    `infra/classify.asl.json` knows the same beginnings.
    """
    return (inference_id or "").startswith((_EVALUATION, _BATCH, _PROBE))


def to_iso8601(moment: datetime) -> str:
    """Format *moment*, which must have a time zone."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso8601(text: str) -> datetime:
    """Parse a timestamp; without a time zone it is in UTC.

    Raises:
        ValueError: *text* is not in ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_minutes(text: str) -> float:
    """Minutes from 1970 to a timestamp."""
    return from_iso8601(text).timestamp() / 60


def from_minutes(minutes: float) -> str:
    """The timestamp so many *minutes* after 1970."""
    return to_iso8601(datetime.fromtimestamp(minutes * 60, UTC))

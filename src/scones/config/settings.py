"""Settings: every choice a user may make, read once and passed along."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path

from scones.domain.decision import VEHICLES
from scones.domain.errors import SettingsError

# No two dashes in a row: they separate the environment from the rest in the names of what it owns.
_ENV_NAME = re.compile(r"(?=.{1,20}$)[a-z](-?[a-z0-9])*")

MIN_RATE, MAX_RATE = 0.001, 0.5
"""The false-alarm rates that the drift check can be calibrated for."""
MIN_PER_THOUSAND, MAX_PER_THOUSAND = 0.02, 1.0
"""Below, a thousand simulated streams cannot tell; above, alarms mean nothing."""

# What the workflow's functions let through.
_MOST_CLASSES, _LONGEST_CLASS = 64, 128

MODES = ("realtime", "serverless")
# What SageMaker and CloudWatch take; longer alarm periods make no sense for an update.
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "mode": MODES,
    "kms": ("no", "yes"),
    "serverless_memory_mb": (1024, 2048, 3072, 4096, 5120, 6144),
    "alarm_seconds": (10, 20, 30, 60, 300),
}
_RANGES = {
    "false_alarms_per_1000_photos": (MIN_PER_THOUSAND, MAX_PER_THOUSAND),
    "monitor_minutes": (1, 60),
    "silence_hours": (2, 168),
    "serverless_concurrency": (1, 200),
    "batch_concurrency": (1, 1000),
    "outliers_per_class": (0, 500),
    "endpoint_hours": (0, 8760),
    "canary_percent": (1, 50),
    "baking_seconds": (0, 3600),
    "wrong_route_cost": (0, 1_000_000),
    "review_cost": (0, 1_000_000),
    "max_routed_error": (0.0001, 0.5),
    "guarantee_doubt": (0.0001, 0.5),
    "gate_accuracy": (0, 1),
    "gate_calibration_error": (0, 1),
    "gate_coverage": (0, 1),
    "gate_accuracy_covered": (0, 1),
    "photo_days": (1, 3650),
    "monthly_dollars": (0, 1_000_000),
    "load_seconds": (0.1, 600),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them, with their defaults; `scones.toml` may set any, flags and the environment override it."""

    env: str = "dev"
    """The environment's name: every resource carries it, so several live side by side in one account."""
    region: str = "us-east-1"
    """The AWS region."""
    endpoint_url: str | None = None
    """An AWS-compatible endpoint to use instead of AWS (`AWS_ENDPOINT_URL`)."""
    data: str = "auto"
    """What to stage: `auto`, `cifar100`, `sample`, a folder or `s3://bucket/prefix` with one folder a class."""
    outliers_per_class: int = 10
    """Photos of each other class of CIFAR-100 that teach the guard; with 0, training takes a third less time."""
    classes: tuple[str, ...] = VEHICLES
    """The classes to tell apart, in the order of every list of probabilities."""
    image_size: int = 32
    """The side, in pixels, to which photos are scaled for the model."""
    epochs: int = 25
    """Passes over the training photos."""
    seed: int = 0
    """Everything random starts from it."""
    threshold: float = 0.8
    """A decision below this confidence (0 to 1) fails its execution instead of being routed."""
    false_alarms_per_1000_photos: float = 0.1
    """How many false alarms the monitor may raise in 1,000 unchanged photos, on average (0.02 to 1)."""
    monitor_minutes: int = 60
    """How often the monitor looks by itself, in minutes (1 to 60)."""
    silence_hours: int = 12
    """After so many hours without a photo, or without a look, there is an alarm (2 to 168)."""
    clients: int = 8
    """How many photos are classified at once."""
    batch_concurrency: int = 8
    """How many batches of 100 photos run at once when a folder or a prefix is classified (1 to 1000)."""
    photo_bucket: str = ""
    """Another bucket whose photos `classify s3://...` may read, besides the environment's own."""
    wrong_route_cost: float = 8.0
    """What an order on the wrong vehicle costs, in dollars; `evaluate` weighs it against `review_cost`."""
    review_cost: float = 0.4
    """What it costs, in dollars, when a person looks at a photo that the model is not sure of."""
    max_routed_error: float = 0.03
    """At most this share of routed photos may be wrong (0 to 1): what a threshold must promise to be proposed."""
    guarantee_doubt: float = 0.05
    """The probability (0 to 1) with which that promise may fail, over which photos happened to be at hand."""
    gate_accuracy: float = 0.88
    """`evaluate --gate`: the least accuracy, of the lower end of its 95% interval."""
    gate_calibration_error: float = 0.06
    """`evaluate --gate`: the largest calibration error."""
    gate_coverage: float = 0.75
    """`evaluate --gate`: the least share of photos at or above the threshold."""
    gate_accuracy_covered: float = 0.92
    """`evaluate --gate`: the least accuracy at or above the threshold, of the lower end of its 95% interval."""
    load_seconds: float = 5.0
    """`evaluate --load`: the longest each number of clients may ask."""
    load_requests: int = 500
    """`evaluate --load`: the most requests of each number of clients."""
    package_index: str = ""
    """A package index that the image's build asks besides pip's own; it must have PyTorch's CPU builds."""
    training_instance: str = "ml.m5.large"
    """The instance type of training jobs."""
    spot_wait_seconds: int = 0
    """How much longer than `training_seconds` a job may wait for Spot instances, which cost a fraction; 0: no Spot."""
    mode: str = "realtime"
    """How the endpoint runs: `realtime` on instances, or `serverless`, which costs nothing while nobody asks."""
    serverless_memory_mb: int = 2048
    """The memory of a serverless endpoint (1024 to 6144, in steps of 1024)."""
    serverless_concurrency: int = 5
    """How many photos a serverless endpoint answers at once (1 to 200)."""
    endpoint_instance: str = "ml.m5.large"
    """The instance type behind the endpoint."""
    endpoint_instances: int = 1
    """How many instances stand behind the endpoint; from two on, a new model is tried on a canary first."""
    endpoint_most_instances: int = 1
    """Up to how many it grows when asked much; it does not scale unless that is more than `endpoint_instances`."""
    endpoint_photos_per_minute: int = 6000
    """Where it scales: how many photos a minute each instance is to answer, half of what it can."""
    endpoint_hours: int = 0
    """After so many hours the endpoint is marked as forgotten, and may be deleted; 0: it may stand for good."""
    canary_percent: int = 10
    """The canary's share of the traffic (1 to 50)."""
    baking_seconds: int = 180
    """How long each step of an endpoint's update is watched; an alarm in that time brings the old model back."""
    alarm_seconds: int = 60
    """The period of the endpoint's alarm; AWS has its metrics by the minute, the local cloud also for 10, 20 and 30."""
    training_seconds: int = 3600
    """The longest a training job may take."""
    kms: str = "no"
    """`yes` encrypts all with a KMS key of the account's own, for a dollar a month and its uses; no way leads back."""
    photo_days: int = 90
    """After so many days photos that were asked about, uploaded or captured are deleted from the bucket (1 to 3650)."""
    monthly_dollars: int = 0
    """At four fifths of so many dollars for SageMaker in a month, account-wide, the alert topic is told; 0: never."""
    cache: Path = Path("~/.cache/scones")
    """Where downloads are kept (`XDG_CACHE_HOME` moves it)."""
    state: Path = Path("~/.local/state/scones")
    """Where local clouds live while they stand (`XDG_STATE_HOME` moves it)."""

    def __post_init__(self) -> None:
        """Refuse what could not work, naming the setting."""
        if not _ENV_NAME.fullmatch(self.env):
            raise SettingsError(f"env {self.env!r} must be 1 to 20 of a-z, 0-9 and single '-', starting with a letter")
        _check_classes(self.classes)
        if not 0 < self.threshold < 1:
            raise SettingsError(f"threshold {self.threshold} must lie between 0 and 1")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} {getattr(self, name)!r} must be one of {', '.join(map(str, allowed))}")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise SettingsError(f"{name} {getattr(self, name)} must lie between {least} and {most}")
        for name in (
            "image_size",
            "epochs",
            "clients",
            "endpoint_instances",
            "training_seconds",
            "load_requests",
            "endpoint_photos_per_minute",
        ):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} {getattr(self, name)} must be at least 1")
        if self.spot_wait_seconds < 0:
            raise SettingsError(f"spot_wait_seconds {self.spot_wait_seconds} must be 0 (no Spot) or more")

    @property
    def stack(self) -> str:
        """The name that every resource of this environment carries."""
        return f"scones-{self.env}"


def _check_classes(classes: tuple[str, ...]) -> None:
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise SettingsError(f"classes {', '.join(classes)!r} must be two or more different names")
    if len(classes) > _MOST_CLASSES or max(map(len, classes)) > _LONGEST_CLASS:
        raise SettingsError(f"classes may be {_MOST_CLASSES} names of {_LONGEST_CLASS} characters at most")


NAMES = tuple(field.name for field in fields(Settings))


def merge(settings: Settings, values: Mapping[str, object], source: str) -> Settings:
    """Override *settings* with *values*; None keeps what was there.

    Strings are converted to the setting's own type, as they come from flags and the environment.

    Raises:
        SettingsError: an unknown name, or a value that cannot be converted; the message names *source*.
    """
    changes: dict[str, object] = {}
    for name, value in values.items():
        if name not in NAMES:
            near = " or ".join(get_close_matches(name, NAMES, n=2))
            meant = f"did you mean {near}? " if near else ""
            raise SettingsError(f"unknown setting {name!r} in {source}; {meant}docs/settings.md has them all")
        if value is not None:
            changes[name] = _convert(name, value, source)
    return replace(settings, **changes)  # type: ignore[arg-type]


def _convert(name: str, value: object, source: str) -> object:
    kind = next(field.type for field in fields(Settings) if field.name == name)
    try:
        if kind is int:
            return int(str(value))
        if kind is float:
            return float(str(value))
    except ValueError as error:
        number = "a whole number" if kind is int else "a number"
        raise SettingsError(f"setting {name} = {value!r} in {source} is not {number}") from error
    if kind is Path:
        return Path(str(value)).expanduser()
    if name == "classes":
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise SettingsError(f"setting classes = {value!r} in {source} is no list of names")
        return tuple(str(part).strip() for part in parts)
    if not isinstance(value, str):
        raise SettingsError(f"setting {name} = {value!r} in {source} is not text; put it in quotes")
    return value

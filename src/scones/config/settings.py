"""Settings: every setting with its type and range, read from flags, the environment and `scones.toml`."""

import configparser
import json
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from scones.domain.decision import MAX_CLASSES, MAX_CLASSES_BYTES, MAX_NAME_CHARACTERS, VEHICLES
from scones.domain.errors import SettingsError
from scones.domain.notification import MAX_TARGETS, TARGET_PATTERN
from scones.domain.vehicles import check_tables

MIN_RATE, MAX_RATE = 0.001, 0.5
"""The false-alarm rates that the drift check can be calibrated for."""
MIN_PER_THOUSAND, MAX_PER_THOUSAND = 0.02, 1.0
"""Simulations of 1,000 streams cannot measure less; with more, an alarm means little."""

Mode = Literal["realtime", "serverless"]
MODES: tuple[str, ...] = get_args(Mode)
PLACE_DEFAULTS: Mapping[str, tuple[int, int]] = {"bake_seconds": (180, 20), "alarm_seconds": (60, 10)}
"""Defaults on AWS, where metrics arrive once a minute, and on a local cloud, where they arrive at once."""

_Count = Annotated[int, Meta(ge=1)]
_Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_ErrorRate = Annotated[float, Meta(ge=0.0001, le=0.5)]

# No two dashes in a row: they separate the environment from the rest in the names of its resources.
_EnvironmentName = Annotated[
    str,
    Meta(
        pattern=r"^(?=.{1,20}\Z)[a-z](-?[a-z0-9])*\Z",
        description="1 to 20 of a-z, 0-9 and single '-', starting with a letter",
    ),
]
_Backbone = Annotated[
    str, Meta(pattern=r"^(lite0|lite2|.+\.onnx)\Z", description="`lite0`, `lite2`, or the path of a file `*.onnx`")
]
_Classes = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)], ...],
    Meta(
        min_length=2,
        max_length=MAX_CLASSES,
        description=f"a list of 2 to {MAX_CLASSES} different names of at most {MAX_NAME_CHARACTERS} characters",
    ),
]


_Targets = Annotated[
    tuple[Annotated[str, Meta(pattern=TARGET_PATTERN, max_length=254)], ...],
    Meta(
        max_length=MAX_TARGETS,
        description="an e-mail address, a Slack webhook such as `https://hooks.slack.com/services/T0/B0/xyz`, or a "
        f"list of at most {MAX_TARGETS} of them",
    ),
]
_Rules = Annotated[dict[str, dict[str, Any]], Meta(description="a table for each class, as JSON in the environment")]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings with their defaults. `scones.toml` may set any; the environment and flags override it."""

    env: _EnvironmentName = "dev"
    """The environment's name, a part of every resource's name; an account may hold several environments."""
    region: str = "us-east-1"
    """The AWS region; the AWS profile's counts before this default."""
    endpoint_url: str | None = None
    """An AWS-compatible endpoint to use instead of AWS (`AWS_ENDPOINT_URL`)."""
    data: str = "auto"
    """The dataset: `auto`, `cifar100`, `sample`, or a folder or `s3://bucket/prefix` with one folder per class."""
    outliers_per_class: Annotated[int, Meta(ge=0, le=500)] = 10
    """CIFAR-100 photos per other class, for the out-of-distribution detector; with 0, training is a sixth faster."""
    classes: _Classes = VEHICLES
    """The classes, in the order of every list of probabilities."""
    image_size: Annotated[int, Meta(ge=0, le=320)] = 0
    """The side, in pixels, to which the model scales photos, a multiple of 32; with 0, training chooses 160 or 224."""
    backbone: _Backbone = "lite0"
    """The pretrained network: EfficientNet-Lite 0, or 2, which is larger and slower, or an ONNX file of yours."""
    seed: int = 0
    """The seed of all random numbers."""
    threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.8
    """The confidence threshold: a photo below it is not routed, and its execution fails."""
    dispatch: _Rules = field(default_factory=dict)
    """The dispatch rules of each class, in `scones.toml` a table such as `[dispatch.van]`: docs/dispatch.md."""
    false_alarms_per_1000_photos: Annotated[float, Meta(ge=MIN_PER_THOUSAND, le=MAX_PER_THOUSAND)] = 0.1
    """The average number of false drift alarms in 1,000 photos without drift."""
    monitor_minutes: Annotated[int, Meta(ge=1, le=60)] = 60
    """The minutes between scheduled monitoring runs."""
    no_traffic_alarm_hours: Annotated[int, Meta(ge=2, le=168)] = 12
    """An alarm fires after so many hours without a photo or without a monitoring run."""
    clients: _Count = 8
    """The number of photos that `classify` sends in parallel."""
    batch_concurrency: Annotated[int, Meta(ge=1, le=1000)] = 8
    """The number of batches of 100 photos that run in parallel when a folder or a prefix is classified."""
    photo_bucket: str = ""
    """Another bucket whose photos `classify s3://...` may read, besides the environment's own."""
    wrong_route_cost: _Dollars = 8.0
    """The cost, in dollars, of an order on the wrong vehicle; `evaluate` weighs it against `review_cost`."""
    review_cost: _Dollars = 0.4
    """The cost, in dollars, of a person's review of a photo below the threshold."""
    max_routed_error: _ErrorRate = 0.03
    """The largest share of wrong decisions among routed photos that a proposed threshold must guarantee."""
    guarantee_alpha: _ErrorRate = 0.05
    """The probability that this guarantee fails, over the choice of the evaluation photos."""
    gate_accuracy: _Share = 0.88
    """`evaluate --gate`: the minimum of the lower end of accuracy's 95% interval."""
    gate_calibration_error: _Share = 0.06
    """`evaluate --gate`: the maximum calibration error."""
    gate_coverage: _Share = 0.75
    """`evaluate --gate`: the minimum share of photos at or above the threshold."""
    gate_accuracy_covered: _Share = 0.92
    """`evaluate --gate`: the minimum of the lower end of the 95% interval of accuracy at or above the threshold."""
    gate_margin: _Share = 0.02
    """A challenger that may be less accurate than the live model by more than this does not replace it."""
    gate_new_source: _Share = 0.85
    """`evaluate --gate`: the minimum of the lower end of accuracy's 95% interval on sources left out of training."""
    load_seconds: Annotated[float, Meta(ge=0.1, le=600)] = 5.0
    """`evaluate --load`: the maximum duration of the test with each number of clients."""
    load_requests: _Count = 500
    """`evaluate --load`: the maximum number of requests with each number of clients."""
    retrain: Literal["off", "propose", "auto"] = "off"
    """Whether a schedule and alarms retrain the model: `propose` waits for `scones retrain approve`, `auto` deploys."""
    retrain_labels: _Count = 50
    """The number of new labels from which on the daily schedule retrains the model."""
    retrain_max_per_week: Annotated[int, Meta(ge=1, le=50)] = 2
    """The most retrainings in seven days that start without a person."""
    retrain_monthly_dollars: _Dollars = 10.0
    """The most that the training jobs of a month's retrainings may cost before none starts without a person."""
    package_index: str = ""
    """A package index for the image build besides pip's own."""
    training_instance: str = "ml.m5.large"
    """The instance type of training jobs."""
    spot_wait_seconds: Annotated[int, Meta(ge=0)] = 0
    """How much longer than `training_seconds` a job may wait for Spot instances, which cost less; 0 uses none."""
    mode: Mode = "realtime"
    """The endpoint's hosting: `realtime` on instances, or `serverless`, which costs nothing without traffic."""
    serverless_memory_mb: Annotated[int, Meta(ge=1024, le=6144, multiple_of=1024)] = 2048
    """The memory of a serverless endpoint."""
    serverless_concurrency: Annotated[int, Meta(ge=1, le=200)] = 5
    """The number of requests that a serverless endpoint serves in parallel."""
    endpoint_instance: str = "ml.m5.large"
    """The endpoint's instance type."""
    endpoint_instances: _Count = 1
    """The endpoint's number of instances; with two or more, an update starts with a canary."""
    endpoint_max_instances: int = 1
    """The number of instances up to which the endpoint scales; it scales only if this exceeds `endpoint_instances`."""
    endpoint_photos_per_minute: _Count = 6000
    """The target of scaling: photos per minute and instance, half of what an instance can serve."""
    endpoint_lifetime_hours: Annotated[int, Meta(ge=0, le=8760)] = 0
    """The endpoint is deleted so many hours after the newest deploy; 0 keeps it."""
    canary_percent: Annotated[int, Meta(ge=1, le=50)] = 10
    """The canary's share of the traffic."""
    bake_seconds: Annotated[int, Meta(ge=0, le=3600)] | None = None
    """How long each stage of an endpoint update is watched; an alarm in that time rolls the update back."""
    alarm_seconds: Literal[10, 20, 30, 60, 300] | None = None
    """The period of the endpoint's alarm; periods under 60 work only on the local cloud."""
    training_photos: Annotated[int, Meta(ge=100, le=1_000_000)] = 20_000
    """Training uses at most so many photos, chosen evenly over the classes; each takes 0.1 MB of memory."""
    training_seconds: _Count = 3600
    """The maximum duration of a training job."""
    kms: Literal["no", "yes"] = "no"
    """`yes` encrypts all data with a KMS key of your account, for $1 a month and the requests; it cannot be undone."""
    tracing: Literal["no", "yes"] = "no"
    """`yes` has AWS X-Ray trace executions through their functions, for up to $5 for a million photos."""
    photo_retention_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    """Classified, uploaded and captured photos are deleted after so many days."""
    notify: _Targets = field(default=(), repr=False)
    """Where alerts are sent: e-mail addresses, whose owners confirm it, and Slack webhooks, which are secrets."""
    monthly_budget_dollars: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """The account's monthly budget for SageMaker: an alert is sent at 80%; 0 sets none."""
    cache: Path = Path("~/.cache/scones")
    """The folder of downloads (`XDG_CACHE_HOME` moves it)."""
    state: Path = Path("~/.local/state/scones")
    """The folder of running local clouds (`XDG_STATE_HOME` moves it)."""

    def __post_init__(self) -> None:
        """Validate all values.

        Raises:
            SettingsError: a value is not allowed; the message names the setting, the value and what is allowed.
        """
        for name in NAMES:
            _convert(name, getattr(self, name), strict=True)
        check_tables(self.dispatch)
        if len(set(self.classes)) != len(self.classes):
            raise _not_allowed("classes", self.classes)
        if (length := len(",".join(self.classes).encode())) > MAX_CLASSES_BYTES:
            raise SettingsError(
                f"the names of the {len(self.classes)} classes have {length:,} bytes together, more than the "
                f"{MAX_CLASSES_BYTES:,} that a training job can be given; shorten the names or use fewer classes"
            )

    @property
    def watch_seconds(self) -> int:
        """The setting `bake_seconds`, or its default where the endpoint is."""
        return self._chosen("bake_seconds", self.bake_seconds)

    @property
    def alarm_period(self) -> int:
        """The setting `alarm_seconds`, or its default where the endpoint is."""
        return self._chosen("alarm_seconds", self.alarm_seconds)

    def _chosen(self, name: str, value: int | None) -> int:
        on_aws, locally = PLACE_DEFAULTS[name]
        return value if value is not None else locally if self.endpoint_url else on_aws

    @property
    def stack(self) -> str:
        """The name that every resource of this environment carries."""
        return f"scones-{self.env}"


NAMES = tuple(field.name for field in fields(Settings))
_TYPES = get_type_hints(Settings, include_extras=True)

RENAMED: Mapping[str, str] = {
    "silence_hours": "no_traffic_alarm_hours",
    "guarantee_doubt": "guarantee_alpha",
    "baking_seconds": "bake_seconds",
    "endpoint_most_instances": "endpoint_max_instances",
    "endpoint_hours": "endpoint_lifetime_hours",
    "photo_days": "photo_retention_days",
    "monthly_dollars": "monthly_budget_dollars",
}
"""The names of 0.1.0 and the present ones; the old names work until the release after 0.2."""


REMOVED: Mapping[str, str] = {"epochs": "training no longer has epochs"}
"""Settings of 0.1.0 that have no effect any more, and why; they print a warning until the release after 0.2."""


def to_environment(settings: Settings) -> str:
    """Write the settings for SCONES_SETTINGS: those that are not the defaults, and are not for this machine alone."""
    mine = {"env", "region", "endpoint_url", "data", "dispatch", "notify", "cache", "state"}
    usual = Settings()
    found = {name: getattr(settings, name) for name in NAMES if name not in mine}
    return msgspec.json.encode({k: v for k, v in found.items() if v != getattr(usual, k)}).decode()


def merge(settings: Settings, values: Mapping[str, object], source: str) -> Settings:
    """Override *settings* with *values*; None keeps the value of *settings*.

    Text from flags and the environment is converted to the setting's type. A name of before prints a warning.

    Raises:
        SettingsError: an unknown name, or a value that is not allowed; the message names *source*.
    """
    changes: dict[str, object] = {}
    for given, value in values.items():
        name = RENAMED.get(given, given)
        if name in REMOVED:
            sys.stderr.write(f"warning: setting {name} in {source} has no effect ({REMOVED[name]}); remove it\n")
            continue
        if name not in NAMES:
            raise _unknown(name, source)
        if value is None:
            continue
        if name != given:
            sys.stderr.write(f"warning: setting {given} in {source} is now called {name}; rename it\n")
            if values.get(name) is not None:
                continue
        changes[name] = _convert(name, _parse(name, value), source)
    return replace(settings, **changes)  # type: ignore[arg-type]


def allowed_values(name: str) -> str:
    """The allowed values of a setting, in words; empty where any text is."""
    info = msgspec.inspect.type_info(_TYPES[name])
    if isinstance(info, msgspec.inspect.UnionType) and name in PLACE_DEFAULTS:
        info = info.types[0]
    match info:
        case msgspec.inspect.Metadata(extra_json_schema={"description": str() as words}):
            return words
        case msgspec.inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return " ".join(filter(None, (_NUMBERS[type(info)], _range(info))))
    return ""


_NUMBERS = {msgspec.inspect.IntType: "a whole number", msgspec.inspect.FloatType: "a number"}


def _range(info: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    steps = f" in steps of {info.multiple_of}" if info.multiple_of else ""
    if info.gt is not None and info.lt is not None:
        return f"above {info.gt} and below {info.lt}"
    if info.ge is not None and info.le is not None:
        return f"from {info.ge} to {info.le}{steps}"
    return "" if info.ge is None else f"of at least {info.ge}"


def _parse(name: str, value: object) -> object:
    """Split the list of a flag or variable, and expand the home folder of a path."""
    if name == "classes" and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if name == "notify" and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if name == "dispatch":
        return _rules(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if _TYPES[name] is Path and isinstance(value, str):
        # Path.expanduser raises where there is no user of that name.
        return Path(os.path.expanduser(value))  # noqa: PTH111
    return value


def _rules(value: object) -> object:
    """Read the JSON of a variable, and check the rules."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise SettingsError(
                f"setting dispatch = {value!r} must be JSON, or tables in scones.toml: {error}"
            ) from error
    check_tables(value)
    return value


def _convert(name: str, value: object, source: str = "", *, strict: bool = False) -> object:
    try:
        return msgspec.convert(value, _TYPES[name], strict=strict)
    except msgspec.ValidationError as error:
        raise _not_allowed(name, value, source) from error


def _written(value: object) -> str:
    """A value as a person writes it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "[]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _not_allowed(name: str, value: object, source: str = "") -> SettingsError:
    where = f" in {source}" if source else ""
    # A webhook is a secret.
    given = "" if name == "notify" else f" = {_written(value)}"
    return SettingsError(f"setting {name}{given}{where} must be {allowed_values(name) or 'text, in quotes'}")


def _unknown(name: str, source: str) -> SettingsError:
    near = " or ".join(get_close_matches(name, NAMES, n=2))
    meant = f"did you mean {near}? " if near else ""
    return SettingsError(f"unknown setting {name!r} in {source}; {meant}docs/settings.md has them all")


SETTINGS_FILE = "scones.toml"

_PREFIX = "SCONES_"
# Variables of the serving program and the tests are not settings.
_SEVERAL = "SCONES_SETTINGS"
"""Settings as a JSON object, for a function that has more of them than variables."""
_NOT_OURS = (_SEVERAL, "SCONES_SERVE_", "SCONES_BIND_HOST", "SCONES_LIVE", "SCONES_PHOTOS")


def load(flags: Mapping[str, object], environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings: *flags* win over *environ*, which wins over `scones.toml` in *folder* and the AWS profile.

    Raises:
        SettingsError: an unknown name or an impossible value; the message names where it stood.
    """
    environ = os.environ if environ is None else environ
    settings = merge(Settings(), {**_folders(environ), "region": _profile_region(environ)}, "the environment")
    settings = merge(settings, _from_file((folder or Path.cwd()) / SETTINGS_FILE), SETTINGS_FILE)
    settings = merge(settings, _from_environment(environ), "the environment")
    return merge(settings, flags, "the flags")


def _folders(environ: Mapping[str, str]) -> dict[str, object]:
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "scones"
    state = Path(environ.get("XDG_STATE_HOME") or "~/.local/state") / "scones"
    return {"cache": cache, "state": state}


def _profile_region(environ: Mapping[str, str]) -> str | None:
    """The region of the AWS profile, as boto3 reads it; boto3 itself takes too long to load for each command.

    Files that cannot be read name none; the commands that use their credentials report the error.
    """
    profile = environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or "default"
    sections = _ini(environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    found = {name: values for section, values in sections.items() if (name := _profile_name(section))}
    credentials = _ini(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    return credentials.get(profile, {}).get("region") or found.get(profile, {}).get("region") or None


def _profile_name(section: str) -> str:
    """The profile of a section of the configuration file, such as `default`, or `profile "my name"`."""
    try:
        words = shlex.split(section) if section.startswith("profile") else []
    except ValueError:
        return ""
    return words[1] if len(words) == 2 else section if section == "default" else ""


def _ini(path: str) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111 - in boto3's order
        return {section: dict(parser.items(section)) for section in parser.sections()}
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}


def _from_file(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {
        "endpoint_url": environ.get("AWS_ENDPOINT_URL") or None,
        "region": environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
    }
    named = {name.removeprefix(_PREFIX).lower(): value for name, value in environ.items() if _is_setting(name)}
    several = msgspec.json.decode(environ.get(_SEVERAL) or "{}", type=dict[str, object])
    return {**several, **values, **{name: value for name, value in named.items() if value}}


def _is_setting(variable: str) -> bool:
    """Whether it is meant as one: a typing error among them must not be passed over."""
    return variable.startswith(_PREFIX) and not variable.startswith(_NOT_OURS)

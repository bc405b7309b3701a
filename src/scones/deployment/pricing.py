"""Pricing: what runs, batches and environments cost on AWS, from one dated price table."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import msgspec

from scones.config.settings import Settings
from scones.deployment.template import template
from scones.domain.errors import DeploymentError, InvalidParameter, require_count, require_number
from scones.domain.result import StepResult

HOURS_PER_MONTH = 730
_SECONDS_PER_HOUR = 3600
_MILLION = 1_000_000
_MAX_PHOTOS, _MAX_INSTANCES, _MAX_HOURS = 10**12, 10_000, 1_000_000
_DEFAULTS = Settings()
_GIGABYTE = 1e9

# One photo through the Express workflow.
SINGLE_PHOTO_FUNCTIONS = ((0.03, 0.5), (0.08, 0.5), (0.005, 0.25), (0.02, 0.25))
"""The functions that one photo passes: the seconds that each is assumed to take, and its memory in GB."""
DECISION_WRITES = 3
"""Each decision is written once, and once more in each of its indexes; a courier's orders come on top."""
_TRANSITION_SECONDS = 0.05
# Express is billed in steps of 100 ms and 64 MB; a state machine with small payloads needs one step of memory.
_EXPRESS_STEP_SECONDS, _EXPRESS_GIGABYTES = 0.1, 64 / 1024

# Assumptions about photos, endpoints and what runs beside them.
PHOTO_KILOBYTES = 100.0
_BASE64 = 4 / 3
"""A captured photo is kept in base64."""
_CALL_LOG_BYTES = 500
_PHOTOS_PER_VCPU_SECOND = 100.0
_VCPUS = {"medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8}
_SERVERLESS_SECONDS = 0.1
"""How long a serverless endpoint computes for one photo."""
MONITOR_METRICS = 34
"""What the monitor publishes: 19 features, seven metrics of the run, three of the reviews and five of the labels."""
_MONITOR_SECONDS, _MONITOR_GIGABYTES = 10, 2
"""One scheduled monitoring run."""
_BUILD_MINUTES = 10  # a guess: only AWS can show it
_LOAD_TEST_EXECUTIONS = 2000

Usage = Mapping[str, float]
"""Quantities by the names of the price table; an instance's hours as `endpoint:ml.m5.large` or `training:...`."""

WorkloadMode = Literal["realtime", "serverless", "batch"]


class UnknownPrice(DeploymentError):
    """The price table has no such instance type."""

    def __init__(self, instance: str, known: Iterable[str]) -> None:
        super().__init__(f"no price for instance {instance!r}; add it to prices.json, or use {', '.join(known)}")
        self.instance = instance


class TooFewHours(DeploymentError):
    """The endpoint would be deleted before it has answered all photos."""

    def __init__(self, photos: int, hours: float, needed: float) -> None:
        super().__init__(
            f"{photos:,} photos keep these instances busy for {needed:,.1f} hours, more than {hours:g}; "
            "use more --hours, or more --instances"
        )
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Price:
    """*dollars* for *per* units of *what*; an *unverified* price was not seen on AWS's own page."""

    dollars: float
    unverified: bool
    what: str = ""
    per: float = 1
    unit: str = "hours"


@dataclass(frozen=True, slots=True)
class PriceTable:
    """List prices of one region on one day; the prices are in the order of a bill."""

    as_of: str
    region: str
    note: str
    prices: dict[str, Price]
    instance_hours: dict[str, Price]

    def by_name(self) -> dict[str, Price]:
        """Every price by the name that a Usage has for it."""
        hours = {
            f"{use}:{name}": replace(price, what=f"SageMaker {use}, {name}")
            for use in ("training", "endpoint")
            for name, price in self.instance_hours.items()
        }
        return hours | self.prices


@dataclass(frozen=True, slots=True)
class LineItem:
    """One line of a bill: *quantity* of *unit* for *dollars*."""

    what: str
    quantity: float
    unit: str
    dollars: float
    unverified: bool

    def __str__(self) -> str:
        """The line for a person."""
        mark = "?" if self.unverified else " "
        return f"  ${self.dollars:>10,.2f}{mark} {self.what}: {self.amount}"

    @property
    def amount(self) -> str:
        """The quantity with its unit: `1 execution`, `2 items of up to 1 KB`."""
        number, noun = f"{self.quantity:,.0f}", re.split(r" (?:of|on) ", self.unit, maxsplit=1)[0]
        return f"{number} {noun.removesuffix('s') if number == '1' else noun}{self.unit.removeprefix(noun)}"


@dataclass(frozen=True, slots=True)
class Bill:
    """A cost in dollars at the prices of *as_of*; *endpoint_month_dollars* is what one instance of its endpoint costs a
    month."""

    items: tuple[LineItem, ...]
    total_dollars: float
    endpoint_month_dollars: float
    as_of: str
    region: str
    note: str

    def dollars(self, *services: str) -> float:
        """The part of some services, by the beginning of their names."""
        return sum(item.dollars for item in self.items if item.what.startswith(services))

    @property
    def orchestration_dollars(self) -> float:
        """The part of Step Functions and Lambda."""
        return self.dollars("Step Functions", "Lambda")


@cache
def price_table() -> PriceTable:
    """The price table that comes with this version."""
    return msgspec.json.decode(files("scones.deployment").joinpath("prices.json").read_bytes(), type=PriceTable)


def bill(usage: Usage) -> Bill:
    """Price *usage*; lines of which nothing was used are left out.

    Raises:
        UnknownPrice: the table lacks an instance type.
    """
    table = price_table()
    prices = table.by_name()
    for name in usage.keys() - prices.keys():
        raise UnknownPrice(name.partition(":")[2], table.instance_hours)
    items = tuple(
        LineItem(price.what, quantity, price.unit, quantity * price.dollars / price.per, price.unverified)
        for name, price in prices.items()
        if (quantity := usage.get(name, 0))
    )
    instances = [name.partition(":")[2] for name in usage if name.startswith("endpoint:")]
    return Bill(
        items=items,
        total_dollars=sum(item.dollars for item in items),
        endpoint_month_dollars=HOURS_PER_MONTH * sum(table.instance_hours[name].dollars for name in instances),
        as_of=table.as_of,
        region=table.region,
        note=table.note,
    )


def express_usage(executions: int, seconds: float) -> dict[str, float]:
    """Express executions that took so many *seconds* in all; each is rounded up, on average by half a step."""
    billed = seconds + executions * _EXPRESS_STEP_SECONDS / 2
    return {"states_express_request": executions, "states_express_gigabyte_second": billed * _EXPRESS_GIGABYTES}


def single_usage(photos: int) -> dict[str, float]:
    """Photos without couriers sent one by one, besides the endpoint: executions, functions and decisions."""
    seconds = sum(seconds for seconds, _ in SINGLE_PHOTO_FUNCTIONS) + _TRANSITION_SECONDS
    return {
        **express_usage(photos, photos * seconds),
        "lambda_request": photos * len(SINGLE_PHOTO_FUNCTIONS),
        "lambda_gigabyte_second": photos * sum(seconds * memory for seconds, memory in SINGLE_PHOTO_FUNCTIONS),
        "table_write": DECISION_WRITES * photos,
    }


def idle_usage(resources: Mapping[str, int], monitor_minutes: float = 60) -> dict[str, float]:
    """A month of a stack that receives no photos; *resources* counts its resources by type."""
    runs = HOURS_PER_MONTH * 60 / monitor_minutes if resources.get("AWS::Events::Rule") else 0.0
    return {
        "alarm_month": resources.get("AWS::CloudWatch::Alarm", 0),
        "dashboard_month": resources.get("AWS::CloudWatch::Dashboard", 0),
        "kms_key_month": resources.get("AWS::KMS::Key", 0),
        "metric_month": MONITOR_METRICS if runs else 0,
        "lambda_request": round(runs),
        "lambda_gigabyte_second": runs * _MONITOR_SECONDS * _MONITOR_GIGABYTES,
    }


def template_resources(*, kms: bool) -> Mapping[str, int]:
    """Count the resources of the whole template by type; it has a key only if *kms*."""
    resources = template()["Resources"]
    assert isinstance(resources, dict)  # noqa: S101 - our own file
    return {**Counter(resource["Type"] for resource in resources.values()), "AWS::KMS::Key": int(kms)}


def idle_hourly_dollars(resources: Mapping[str, int], monitor_minutes: float = 60) -> float:
    """What a stack costs per hour while it receives no photos, besides its endpoint."""
    return bill(idle_usage(resources, monitor_minutes)).total_dollars / HOURS_PER_MONTH


def kept_monthly_dollars(stored_bytes: int, image_bytes: int, *, kms: bool) -> float:
    """What a month costs of what `down --keep-data` keeps: the bytes, an alarm, and a key."""
    kept = {
        "s3_gigabyte_month": stored_bytes / _GIGABYTE,
        "image_gigabyte_month": image_bytes / _GIGABYTE,
        "alarm_month": 1,
        "kms_key_month": int(kms),
    }
    return bill(kept).total_dollars


def hourly_dollars(instances: Mapping[str, int]) -> float | None:
    """What so many instances of each type cost per hour; None where the table lacks a price."""
    prices = price_table().instance_hours
    if not instances.keys() <= prices.keys():
        return None
    return sum(prices[name].dollars * count for name, count in instances.items())


def price_of(command: str, settings: Settings) -> str:
    """One sentence on what a command costs on AWS, for the question before it starts."""
    if command == "deploy":
        return f"{endpoint_price(settings)}."
    if command in {"train", "retrain"}:
        return f"a training job on {settings.training_instance} costs {instance_price(settings.training_instance, 1)}."
    if command == "image":
        cents = 100 * bill({"build_minute": _BUILD_MINUTES}).total_dollars
        return f"a build of {_BUILD_MINUTES} minutes costs about {cents:.0f} cents; storing the image costs extra."
    if command == "evaluate":
        cents = 100 * bill(single_usage(_LOAD_TEST_EXECUTIONS)).total_dollars
        return f"a load test of {_LOAD_TEST_EXECUTIONS:,} executions costs about {cents:.0f} cents."
    return "a few cents at most for requests and storage."


def up_price(settings: Settings) -> str:
    """One sentence on what the stack of `up` costs, and what `deploy` and photos add."""
    try:
        photos = f"a million photos cost about ${estimate(workload(settings)).cost.total_dollars:,.0f}"
    except UnknownPrice as unknown:
        photos = str(unknown)
    table = price_table()
    prices = f"Prices of {table.region} on {table.as_of}; more: scones cost."
    return f"{stack_price(settings)}; {endpoint_price(settings)}; {photos}. {prices}"


def workload(settings: Settings, photos: int = _MILLION) -> "Workload":
    """So many photos through the endpoint of the settings: what `up` and `cost` price."""
    return Workload(
        photos=photos,
        mode=settings.mode,
        instance=settings.endpoint_instance,
        instances=settings.endpoint_instances,
        memory_mb=settings.serverless_memory_mb,
        kms=settings.kms == "yes",
        monitor_minutes=settings.monitor_minutes,
        tracing=settings.tracing == "yes",
    )


def cost(settings: Settings, **given: object) -> "Estimate | CostTable":
    """Price the workload of the settings in each mode, or only that which *given*, fields of a workload, describe."""
    asked = workload(settings)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return estimate(replace(asked, **chosen)) if chosen else cost_table(asked)


def endpoint_usage(settings: Settings, hours: float) -> dict[str, float]:
    """What the endpoint of the settings uses in so many hours, whether photos come or not."""
    if settings.mode == "serverless":
        return {}
    return {f"endpoint:{settings.endpoint_instance}": settings.endpoint_instances * hours}


def stack_price(settings: Settings) -> str:
    """What the stack costs while it is idle, as part of a sentence."""
    hour = idle_hourly_dollars(template_resources(kms=settings.kms == "yes"), settings.monitor_minutes)
    return f"on AWS the idle stack costs about ${hour:.3f} an hour (${hour * HOURS_PER_MONTH:.2f} a month)"


def endpoint_price(settings: Settings) -> str:
    """What the endpoint of these settings costs, as part of a sentence."""
    if settings.mode == "serverless":
        return "a serverless endpoint costs nothing while it is idle"
    count, most, instance = settings.endpoint_instances, settings.endpoint_max_instances, settings.endpoint_instance
    price = f"an endpoint on {count} {instance} costs {instance_price(instance, count)} until: scones down"
    return f"{price} (under load, up to {instance_price(instance, most)})" if most > count else price


def endpoint_continues(settings: Settings, command: str) -> str:
    """What a *command* that stops waiting for the endpoint leaves behind, and what that costs."""
    price = endpoint_price(settings)
    return f"the endpoint continues to change in the account; {price}; to wait for it again, run: scones {command}"


def instance_price(instance: str, count: int) -> str:
    """What so many instances cost per hour and month, as part of a sentence."""
    dollars = hourly_dollars({instance: count})
    if dollars is None:
        return "an hourly price that the price table does not list"
    return f"${dollars:.3f} an hour (${HOURS_PER_MONTH * dollars:,.0f} a month)"


# Batch runs. The first three are those of infra/; only AWS can show the others.
BATCH_PHOTOS, BATCH_THREADS, BATCH_GIGABYTES = 100, 4, 1.0
"""Photos in a batch, threads of the function, which share them, and its memory."""
_BATCH_READ_SECONDS = 0.03
"""The time to read one photo of about 100 KB from S3."""
_BATCH_HOURS = 8.0
"""The time within which a batch run should be done."""


@dataclass(frozen=True, slots=True)
class QuotaCheck:
    """A limit of AWS and what a batch run needs; if not *verified*, it was not seen on AWS's own page on *as_of*."""

    what: str
    needed: float
    limit: float
    source: str
    as_of: str
    verified: bool

    @property
    def kept(self) -> bool:
        """Whether the run stays within it."""
        return self.needed <= self.limit


@dataclass(frozen=True, slots=True)
class BatchPlan(StepResult):
    """How a batch run is cut, and its cost; *orchestration_dollars* is the part of Step Functions and Lambda."""

    TABLE = "cost.items"
    FIGURE = ("cost.items", "what", "dollars")

    photos: int
    batches: int
    instances: int
    concurrency: int
    seconds: float
    batch_seconds: float
    orchestration_dollars: float
    cost: Bill
    quotas: tuple[QuotaCheck, ...]


def plan_batch(photos: int, instance: str = _DEFAULTS.endpoint_instance) -> BatchPlan:
    """Plan a batch run: enough instances for eight hours, and enough concurrent batches to keep them busy."""
    require_count("photos", photos, 1, _MAX_PHOTOS)
    batches = math.ceil(photos / BATCH_PHOTOS)
    instances = max(1, math.ceil(photos / (_photos_per_second(instance) * _BATCH_HOURS * _SECONDS_PER_HOUR)))
    rate = instances * _photos_per_second(instance)
    share = min(BATCH_PHOTOS, photos) / BATCH_THREADS
    batch_seconds = share * _BATCH_READ_SECONDS + share / _photos_per_second(instance)
    concurrency = max(1, min(batches, math.ceil(rate * batch_seconds / BATCH_PHOTOS)))
    # A batch that waits for a busy endpoint is paid for as well.
    batch_seconds = max(batch_seconds, concurrency * BATCH_PHOTOS / rate)
    seconds = max(photos / rate, batch_seconds)
    endpoint = {f"endpoint:{instance}": seconds * instances / _SECONDS_PER_HOUR}
    cost = bill(_batch_usage(photos, batch_seconds) | endpoint)
    return BatchPlan(
        photos=photos,
        batches=batches,
        instances=instances,
        concurrency=concurrency,
        seconds=seconds,
        batch_seconds=batch_seconds,
        orchestration_dollars=cost.orchestration_dollars,
        cost=cost,
        quotas=tuple(_quotas(photos, concurrency, instances, rate)),
    )


def batch_bill(photos: int) -> Bill:
    """What a batch run costs on AWS besides its endpoint."""
    return bill(_batch_usage(photos, plan_batch(photos).batch_seconds) if photos else {})


def _batch_usage(photos: int, batch_seconds: float) -> dict[str, float]:
    batches = math.ceil(photos / BATCH_PHOTOS)
    return {
        **express_usage(batches, batches * batch_seconds),
        # Each child that starts is one transition of the parent, which has few of its own.
        "states_transition": batches + 3,
        "lambda_request": batches,
        "lambda_gigabyte_second": batches * batch_seconds * BATCH_GIGABYTES,
        "s3_get": photos + batches,
        "s3_put": batches,
    }


_GUIDE = "https://docs.aws.amazon.com/"
_STATES_QUOTAS = "step-functions/latest/dg/service-quotas.html"
_MANIFEST_LINE_BYTES = 120
"""A line of the manifest: a key of usual length, and the tag."""
_QUOTAS = (
    ("children of a map run at once", 10_000, "step-functions/latest/dg/state-map-distributed.html", True),
    ("items of a map run", 100_000_000, _STATES_QUOTAS, False),
    ("bytes of a manifest", 10_000_000_000, _STATES_QUOTAS, False),
    ("function calls at once", 1000, "lambda/latest/dg/gettingstarted-limits.html", False),
    ("S3 reads a second below one prefix", 5500, "AmazonS3/latest/userguide/optimizing-performance.html", False),
    ("endpoint instances of one type", 20, "general/latest/gr/sagemaker.html", False),
)


def _quotas(photos: int, concurrency: int, instances: int, rate: float) -> Iterable[QuotaCheck]:
    needs = (concurrency, photos, photos * _MANIFEST_LINE_BYTES, concurrency, rate, instances)
    for (what, limit, page, verified), needed in zip(_QUOTAS, needs, strict=True):
        yield QuotaCheck(what, needed, limit, _GUIDE + page, "2026-11-23", verified)


# Estimates of `scones cost`.


@dataclass(frozen=True, slots=True)
class Workload:
    """What an estimate is for; serverless has no instances, and a batch plans its own number."""

    photos: int = _MILLION
    mode: WorkloadMode = "realtime"
    instance: str = _DEFAULTS.endpoint_instance
    instances: int = 1
    hours: float | None = None
    """How long a real-time endpoint runs; None: as long as the photos keep it busy."""
    memory_mb: int = _DEFAULTS.serverless_memory_mb
    """A serverless endpoint's memory."""
    kms: bool = False
    """Whether a KMS key of one's own encrypts what is stored; without bucket keys each request to S3 uses it."""
    monitor_minutes: float = _DEFAULTS.monitor_minutes
    """The minutes between scheduled monitoring runs."""
    tracing: bool = False
    """Whether X-Ray traces each photo; of many photos at once it traces fewer."""

    def __post_init__(self) -> None:
        """Reject what is no workload."""
        require_count("photos", self.photos, 1, _MAX_PHOTOS)
        require_count("instances", self.instances, 1, _MAX_INSTANCES)
        require_count("memory", self.memory_mb, 1024, 6144)
        if self.hours is not None:
            require_number("hours", self.hours, 0, _MAX_HOURS, ends=False)
        if self.mode not in get_args(WorkloadMode):
            raise InvalidParameter("mode", self.mode, " or ".join(get_args(WorkloadMode)))


@dataclass(frozen=True, slots=True)
class Estimate(StepResult):
    """The bill of a workload, and what a month without any photo costs."""

    TABLE = "cost.items"
    FIGURE = ("cost.items", "what", "dollars")

    workload: Workload
    cost: Bill
    per_photo_dollars: float
    idle_month: tuple[LineItem, ...]
    idle_month_dollars: float


@dataclass(frozen=True, slots=True)
class CostRow:
    """One way to classify photos, in dollars; *photos_dollars* is the sum of the four parts before it."""

    way: str
    endpoint_dollars: float
    orchestration_dollars: float
    storage_dollars: float
    other_dollars: float
    photos_dollars: float
    idle_month_dollars: float


@dataclass(frozen=True, slots=True)
class CostTable(StepResult):
    """The ways side by side."""

    TABLE = "rows"
    FIGURE = ("rows", "way", "photos_dollars")

    photos: int
    rows: tuple[CostRow, ...]
    as_of: str
    region: str
    unverified: tuple[str, ...]


def estimate(workload: Workload) -> Estimate:
    """Price a workload.

    Raises:
        UnknownPrice: the table lacks the instance type.
        TooFewHours: the endpoint would be gone before the last photo is answered.
    """
    cost = bill(_workload_usage(workload))
    waiting = workload.instances * HOURS_PER_MONTH if workload.mode == "realtime" else 0
    stack = idle_usage(template_resources(kms=workload.kms), workload.monitor_minutes)
    idle = bill(stack | {f"endpoint:{workload.instance}": waiting})
    per_photo = cost.total_dollars / workload.photos
    return Estimate(workload, cost, per_photo, idle.items, idle.total_dollars)


def cost_table(asked: Workload) -> CostTable:
    """The same photos in each mode, and with an endpoint that runs for a month."""
    photos, realtime = asked.photos, replace(asked, mode="realtime", hours=None)
    ways = {
        "real-time, while busy": realtime,
        "real-time, a whole month": replace(realtime, hours=HOURS_PER_MONTH),
        "serverless": replace(asked, mode="serverless"),
        "in batches": replace(asked, mode="batch"),
    }
    found = {way: estimate(workload) for way, workload in ways.items()}
    lines = [item for each in found.values() for item in each.cost.items]
    unverified = tuple(dict.fromkeys(item.what.replace(", ", " ") for item in lines if item.unverified))
    rows = tuple(_row(way, each.cost, each.idle_month_dollars) for way, each in found.items())
    return CostTable(photos, rows, price_table().as_of, price_table().region, unverified)


def _row(way: str, cost: Bill, idle_month_dollars: float) -> CostRow:
    endpoint, workflow, storage = cost.dollars("SageMaker"), cost.orchestration_dollars, cost.dollars("S3")
    other = cost.total_dollars - endpoint - workflow - storage
    return CostRow(way, endpoint, workflow, storage, other, cost.total_dollars, idle_month_dollars)


def _workload_usage(workload: Workload) -> dict[str, float]:
    photos, gigabytes = workload.photos, workload.photos * PHOTO_KILOBYTES / _MILLION
    if workload.mode == "batch":
        plan = plan_batch(photos, workload.instance)
        hours = plan.seconds * plan.instances / _SECONDS_PER_HOUR
        usage = _batch_usage(photos, plan.batch_seconds) | {f"endpoint:{workload.instance}": hours}
    else:
        # Each photo is uploaded once, and read by the function that checks it and by the one that sends it.
        usage = single_usage(photos) | {"s3_put": photos, "s3_get": 2 * photos}
        usage["xray_trace"] = photos if workload.tracing else 0
    if workload.mode == "realtime":
        usage[f"endpoint:{workload.instance}"] = workload.instances * _endpoint_hours(workload)
    if workload.mode == "serverless":
        usage["serverless_gigabyte_second"] = photos * _SERVERLESS_SECONDS * workload.memory_mb / 1024
        usage["s3_put"] += photos  # it cannot capture, so the function writes one object a photo
    uploaded = 0.0 if workload.mode == "batch" else gigabytes
    return usage | {
        "hosting_gigabyte": gigabytes,
        "s3_gigabyte_month": uploaded + _BASE64 * gigabytes,
        "logs_gigabyte": usage["lambda_request"] * _CALL_LOG_BYTES / _GIGABYTE,
        "kms_request": usage["s3_put"] + usage["s3_get"] if workload.kms else 0,
    }


def _endpoint_hours(workload: Workload) -> float:
    needed = workload.photos / (workload.instances * _photos_per_second(workload.instance)) / _SECONDS_PER_HOUR
    if workload.hours is not None and workload.hours < needed:
        raise TooFewHours(workload.photos, workload.hours, needed)
    return needed if workload.hours is None else workload.hours


def _photos_per_second(instance: str) -> float:
    return _PHOTOS_PER_VCPU_SECOND * _VCPUS.get(instance.rpartition(".")[2], 2)

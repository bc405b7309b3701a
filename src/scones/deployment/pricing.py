"""Pricing: AWS cost of runs, batches and environments, from one dated price table."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from scones.config.settings import Settings
from scones.deployment.template import template
from scones.domain.errors import SconesError

HOURS_PER_MONTH = 730
_SECONDS_PER_HOUR = 3600
# Express is billed in steps of 100 ms and 64 MB; a state machine with small payloads needs one step of memory.
_EXPRESS_STEP_SECONDS, _EXPRESS_GIGABYTES = 0.1, 64 / 1024
SINGLE = ((0.03, 0.5), (0.08, 0.5), (0.005, 0.25), (0.02, 0.25))
"""The functions of one photo's way: the seconds that each is assumed to take, and its memory in GB."""
_BETWEEN_SECONDS = 0.05
DECISION_WRITES = 2
"""Each decision is written once, and once more in its index; a courier's orders come on top."""
_METRICS = 20
"""What the monitor publishes: one metric a channel, and seven about the look itself."""
_LOOK_SECONDS, _LOOK_GIGABYTES = 10, 2
"""One look of the scheduled monitor: the time that it is assumed to take, and its memory."""

_BUILD_MINUTES = 10  # a guess: only AWS can show it


class UnknownPrice(SconesError):
    """The price table has no such instance type."""

    def __init__(self, instance: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no price for instance {instance!r}; add it to prices.json, or use {', '.join(known)}")
        self.instance = instance


@dataclass(frozen=True, slots=True)
class Price:
    """*dollars* for *per* units; *unverified* prices were not seen on AWS's own page."""

    dollars: float
    per: float
    unit: str
    unverified: bool


@dataclass(frozen=True, slots=True)
class PriceTable:
    """List prices of one region on one day."""

    as_of: str
    region: str
    note: str
    prices: Mapping[str, Price]
    instance_hours: Mapping[str, Price]

    def instance_hour(self, instance: str) -> Price:
        """The price of an instance's hour.

        Raises:
            UnknownPrice: the table lacks the instance type.
        """
        if instance not in self.instance_hours:
            raise UnknownPrice(instance, tuple(self.instance_hours))
        return self.instance_hours[instance]


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run used; everything that is not given was not used.

    *executions* are those of Express state machines, *transitions* those of Standard ones. *execution_seconds* and
    *lambda_gigabyte_seconds* are sums over all executions and invocations.
    """

    training_seconds: float = 0
    training_instance: str = "ml.m5.large"
    endpoint_seconds: float = 0
    endpoint_instance: str = "ml.m5.large"
    executions: int = 0
    transitions: int = 0
    execution_seconds: float = 0
    lambda_requests: int = 0
    lambda_gigabyte_seconds: float = 0
    s3_puts: int = 0
    s3_gets: int = 0
    table_writes: int = 0
    notices: int = 0
    log_gigabytes: float = 0
    build_minutes: float = 0
    hosting_gigabytes: float = 0
    """Into the endpoint and out of it; charged on top of its time."""
    serverless_gigabyte_seconds: float = 0
    storage_gigabyte_months: float = 0
    image_gigabyte_months: float = 0
    key_months: float = 0
    key_requests: float = 0
    alarm_months: float = 0
    dashboard_months: float = 0
    metric_months: float = 0


@dataclass(frozen=True, slots=True)
class LineItem:
    """One line of a bill: *quantity* of *unit* for *dollars*."""

    what: str
    quantity: float
    unit: str
    dollars: float
    unverified: bool


@dataclass(frozen=True, slots=True)
class Bill:
    """A run's cost in dollars at the prices of *as_of*, and what its endpoint costs if it is left running."""

    items: tuple[LineItem, ...]
    total_dollars: float
    endpoint_month_dollars: float
    as_of: str
    region: str
    note: str


@cache
def price_table() -> PriceTable:
    """The price table that comes with this version."""
    found = json.loads(files("scones.deployment").joinpath("prices.json").read_text(encoding="utf-8"))
    return PriceTable(
        as_of=found["as_of"],
        region=found["region"],
        note=found["note"],
        prices={
            name: Price(float(price["dollars"]), float(price["per"]), price["unit"], price["unverified"])
            for name, price in found["prices"].items()
        },
        instance_hours={
            name: Price(float(price["dollars"]), 1, "hours", price["unverified"])
            for name, price in found["instance_hours"].items()
        },
    )


def bill(usage: RunUsage, table: PriceTable | None = None) -> Bill:
    """Price *usage*; lines of which nothing was used are left out.

    Raises:
        UnknownPrice: the table lacks an instance type.
    """
    table = table or price_table()
    lines = (
        _instance_line("SageMaker training", usage.training_seconds, usage.training_instance, table),
        _instance_line("SageMaker endpoint", usage.endpoint_seconds, usage.endpoint_instance, table),
        *_workflow_lines(usage, table),
        _line("SageMaker, data", usage.hosting_gigabytes, table.prices["hosting_gigabyte"]),
        _line("SageMaker serverless", usage.serverless_gigabyte_seconds, table.prices["serverless_gigabyte_second"]),
        _line("Lambda, requests", usage.lambda_requests, table.prices["lambda_request"]),
        _line("Lambda, time", usage.lambda_gigabyte_seconds, table.prices["lambda_gigabyte_second"]),
        _line("S3, writing", usage.s3_puts, table.prices["s3_put"]),
        _line("S3, reading", usage.s3_gets, table.prices["s3_get"]),
        _line("S3, storage", usage.storage_gigabyte_months, table.prices["s3_gigabyte_month"]),
        _line("ECR, storage", usage.image_gigabyte_months, table.prices["image_gigabyte_month"]),
        _line("DynamoDB, writing", usage.table_writes, table.prices["table_write"]),
        _line("SNS", usage.notices, table.prices["sns_publish"]),
        _line("CloudWatch Logs", usage.log_gigabytes, table.prices["logs_gigabyte"]),
        _line("CloudWatch, alarms", usage.alarm_months, table.prices["alarm_month"]),
        _line("CloudWatch, metrics", usage.metric_months, table.prices["metric_month"]),
        _line("CloudWatch, dashboards", usage.dashboard_months, table.prices["dashboard_month"]),
        _line("KMS, keys", usage.key_months, table.prices["kms_key_month"]),
        _line("KMS, requests", usage.key_requests, table.prices["kms_request"]),
        _line("CodeBuild", usage.build_minutes, table.prices["build_minute"]),
    )
    items = tuple(line for line in lines if line.quantity)
    return Bill(
        items=items,
        total_dollars=sum(item.dollars for item in items),
        endpoint_month_dollars=HOURS_PER_MONTH * table.instance_hour(usage.endpoint_instance).dollars,
        as_of=table.as_of,
        region=table.region,
        note=table.note,
    )


def photos_usage(photos: int) -> RunUsage:
    """What so many photos without couriers use one by one, besides the endpoint: execution, functions, decision."""
    return RunUsage(
        executions=photos,
        execution_seconds=photos * (sum(seconds for seconds, _ in SINGLE) + _BETWEEN_SECONDS),
        lambda_requests=photos * len(SINGLE),
        lambda_gigabyte_seconds=photos * sum(seconds * gigabytes for seconds, gigabytes in SINGLE),
        table_writes=DECISION_WRITES * photos,
    )


def standing_usage(kinds: Mapping[str, int], monitor_minutes: float = 60) -> RunUsage:
    """What a stack uses in a month in which nobody sends a photo; *kinds* counts its resources by their type."""
    looks = HOURS_PER_MONTH * 60 / monitor_minutes if kinds.get("AWS::Events::Rule") else 0.0
    return RunUsage(
        alarm_months=kinds.get("AWS::CloudWatch::Alarm", 0),
        dashboard_months=kinds.get("AWS::CloudWatch::Dashboard", 0),
        key_months=kinds.get("AWS::KMS::Key", 0),
        metric_months=_METRICS if looks else 0,
        lambda_requests=round(looks),
        lambda_gigabyte_seconds=looks * _LOOK_SECONDS * _LOOK_GIGABYTES,
    )


def price_of(verb: str, settings: Settings) -> str:
    """One sentence on what a verb costs on AWS with these *settings*, for the question before it starts."""
    if verb == "deploy":
        return _price_of_endpoint(settings)
    if verb == "train":
        hour = by_the_hour(settings.training_instance, 1)
        return f"a training job on {settings.training_instance} costs {hour}."
    if verb == "image":
        cents = 100 * bill(RunUsage(build_minutes=_BUILD_MINUTES)).total_dollars
        return f"a build of {_BUILD_MINUTES} minutes costs about {cents:.0f} cents, and keeping the image some a month."
    if verb == "evaluate":
        executions = 4 * 500
        used = RunUsage(executions=executions, execution_seconds=executions, lambda_requests=len(SINGLE) * executions)
        cents = 100 * bill(replace(used, lambda_gigabyte_seconds=executions / 2)).total_dollars
        return f"a load test of {executions:,} executions costs about {cents:.0f} cents, and keeps the endpoint busy."
    return "a few cents at most for requests and storage."


def _price_of_endpoint(settings: Settings) -> str:
    if settings.mode == "serverless":
        return "a serverless endpoint costs by the time that it computes, and nothing while nobody asks."
    count, most, instance = settings.endpoint_instances, settings.endpoint_max_instances, settings.endpoint_instance
    price = f"an endpoint on {count} {instance} costs {by_the_hour(instance, count)} until: scones down"
    return f"{price}; when asked much, up to {by_the_hour(instance, most)}." if most > count else f"{price}."


def by_the_hour(instance: str, count: int) -> str:
    """Say what so many instances cost in an hour and in a month; or that nobody knows."""
    dollars = hourly_dollars({instance: count})
    if dollars is None:
        return "what our price table does not know, by the hour,"
    return f"${dollars:.3f} an hour (${HOURS_PER_MONTH * dollars:,.0f} a month)"


def hourly_dollars(instances: Mapping[str, int], table: PriceTable | None = None) -> float | None:
    """What so many instances of each type cost in an hour; None where the table lacks a price, which stops nobody."""
    table = table or price_table()
    if not instances.keys() <= table.instance_hours.keys():
        return None
    return sum(table.instance_hours[name].dollars * count for name, count in instances.items())


def _instance_line(what: str, seconds: float, instance: str, table: PriceTable) -> LineItem:
    return _line(f"{what}, {instance}", seconds / _SECONDS_PER_HOUR, table.instance_hour(instance))


def _workflow_lines(usage: RunUsage, table: PriceTable) -> tuple[LineItem, ...]:
    # Each execution is rounded up; on average that adds half a step.
    seconds = usage.execution_seconds + usage.executions * _EXPRESS_STEP_SECONDS / 2
    return (
        _line("Step Functions, transitions", usage.transitions, table.prices["states_transition"]),
        _line("Step Functions, requests", usage.executions, table.prices["states_express_request"]),
        _line("Step Functions, time", seconds * _EXPRESS_GIGABYTES, table.prices["states_express_gigabyte_second"]),
    )


def _line(what: str, quantity: float, price: Price) -> LineItem:
    return LineItem(what, quantity, price.unit, quantity * price.dollars / price.per, price.unverified)


_MANIFEST_LINE_BYTES = 120
"""A line of the manifest: a key of usual length, and the tag."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the plan takes for given: the first three stand in infra/, the others only AWS can show."""

    batch: int = 100
    """Photos in a batch."""
    threads: int = 4
    """Threads of the function, each with its share of the batch."""
    memory_gigabytes: float = 1.0
    """The function's memory."""
    read_seconds: float = 0.03
    """The time to read one photo of about 100 KB from S3."""
    instance: str = "ml.m5.xlarge"
    """The endpoint's instances."""
    photos_per_second: float = 400.0
    """What one instance answers."""
    hours: float = 8.0
    """The time within which the batch should be done."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit of AWS beside what the plan needs; if not *verified*, it was not seen on AWS's own page on *as_of*."""

    what: str
    needed: float
    limit: float
    source: str
    as_of: str
    verified: bool

    @property
    def kept(self) -> bool:
        """Whether the plan stays within it."""
        return self.needed <= self.limit


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A batch on paper; *orchestration_dollars* is Step Functions and Lambda alone."""

    photos: int
    batches: int
    instances: int
    concurrency: int
    seconds: float
    batch_seconds: float
    orchestration_dollars: float
    cost: Bill
    quotas: tuple[Quota, ...]

    def summary(self) -> Iterable[str]:
        """The lines for a person."""
        yield f"{self.photos:,} photos in {self.batches:,} batches, {self.concurrency} at once"
        yield f"{self.instances} endpoint instances, {self.seconds / _SECONDS_PER_HOUR:.1f} hours"
        yield from (f"${item.dollars:,.2f} {item.what}: {item.quantity:,.0f} {item.unit}" for item in self.cost.items)
        orchestration = f"${self.orchestration_dollars:,.2f} of it Step Functions and Lambda"
        prices = f"prices of {self.cost.as_of}, {self.cost.region}"
        yield f"${self.cost.total_dollars:,.2f} in all, {orchestration}; {prices}"
        for quota in self.quotas:
            mark = "" if quota.verified else ", to be checked"
            verdict = "within" if quota.kept else "OVER"
            yield f"{verdict}: {quota.what}: {quota.needed:,.0f} of {quota.limit:,.0f} ({quota.as_of}{mark})"


def plan_batch(photos: int, given: Assumptions | None = None) -> BatchPlan:
    """Plan a batch: as many instances as the hours ask for, and as many batches at once as keep them busy."""
    given = given or Assumptions()
    batches = math.ceil(photos / given.batch)
    instances = max(1, math.ceil(photos / (given.photos_per_second * given.hours * _SECONDS_PER_HOUR)))
    rate = instances * given.photos_per_second
    share = min(given.batch, photos) / given.threads
    batch_seconds = share * given.read_seconds + share / given.photos_per_second
    concurrency = max(1, min(batches, math.ceil(rate * batch_seconds / given.batch)))
    # A batch that waits for a busy endpoint is paid for as well.
    batch_seconds = max(batch_seconds, concurrency * given.batch / rate)
    seconds = max(photos / rate, batch_seconds)
    cost = bill(_batch_usage(photos, given, batch_seconds, endpoint_seconds=seconds * instances))
    return BatchPlan(
        photos=photos,
        batches=batches,
        instances=instances,
        concurrency=concurrency,
        seconds=seconds,
        batch_seconds=batch_seconds,
        orchestration_dollars=orchestration_dollars(cost),
        cost=cost,
        quotas=tuple(_quotas(photos, concurrency, instances, rate)),
    )


def batch_usage(photos: int, given: Assumptions) -> RunUsage:
    """What so many photos in batches use, the endpoint for as long as they take."""
    plan = plan_batch(photos, given)
    return _batch_usage(photos, given, plan.batch_seconds, endpoint_seconds=plan.seconds * plan.instances)


def batch_bill(photos: int) -> Bill:
    """What a batch costs on AWS besides its endpoint."""
    given = Assumptions()
    return bill(_batch_usage(photos, given, plan_batch(photos).batch_seconds if photos else 0.0, endpoint_seconds=0.0))


def single_bill(photos: int) -> Bill:
    """What so many photos without couriers cost one by one, besides the endpoint: execution, functions, decision."""
    return bill(photos_usage(photos))


def orchestration_dollars(cost: Bill) -> float:
    """What of a bill is Step Functions and Lambda."""
    return sum(item.dollars for item in cost.items if item.what.startswith(("Step Functions", "Lambda")))


def _batch_usage(photos: int, given: Assumptions, batch_seconds: float, endpoint_seconds: float) -> RunUsage:
    batches = math.ceil(photos / given.batch)
    return RunUsage(
        endpoint_seconds=endpoint_seconds,
        endpoint_instance=given.instance,
        executions=batches,
        # Each child that starts is one transition of the parent, which has few of its own.
        transitions=batches + 3 if batches else 0,
        execution_seconds=batches * batch_seconds,
        lambda_requests=batches,
        lambda_gigabyte_seconds=batches * batch_seconds * given.memory_gigabytes,
        s3_gets=photos + batches,
        s3_puts=batches,
    )


def _quotas(photos: int, concurrency: int, instances: int, rate: float) -> Iterable[Quota]:
    guide = "https://docs.aws.amazon.com/"
    states, day = f"{guide}step-functions/latest/dg/service-quotas.html", "2026-11-23"
    distributed = f"{guide}step-functions/latest/dg/state-map-distributed.html"
    yield Quota("children of a map run at once", concurrency, 10_000, distributed, day, verified=True)
    yield Quota("items of a map run", photos, 100_000_000, states, day, verified=False)
    manifest = photos * _MANIFEST_LINE_BYTES
    yield Quota("bytes of a manifest", manifest, 10_000_000_000, states, day, verified=False)
    lambdas = f"{guide}lambda/latest/dg/gettingstarted-limits.html"
    yield Quota("function calls at once", concurrency, 1000, lambdas, day, verified=False)
    s3 = f"{guide}AmazonS3/latest/userguide/optimizing-performance.html"
    yield Quota("S3 reads a second below one prefix", rate, 5500, s3, day, verified=False)
    sagemaker = f"{guide}general/latest/gr/sagemaker.html"
    yield Quota("endpoint instances of one type", instances, 20, sagemaker, day, verified=False)


Mode = Literal["realtime", "serverless", "batch"]
MODES: tuple[str, ...] = get_args(Mode)

_MILLION = 1_000_000
_GIGABYTE = 1e9
_KILOBYTES = 100.0
"""A photo of usual size; the answer is small beside it."""
_CAPTURED = 4 / 3
"""A captured photo is kept in base64."""
_CALL_LOG_BYTES = 500
_PER_CPU_SECOND = 100.0
"""Photos that one vCPU answers in a second; four of them are plan.py's instance."""
_CPUS = {"medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8}
_SERVERLESS_SECONDS = 0.1
"""How long a serverless endpoint computes for one photo."""


class TooFewHours(SconesError):
    """So many photos are not answered in the time that the endpoint would stand."""

    def __init__(self, photos: int, hours: float, needed: float) -> None:
        super().__init__(
            f"{photos:,} photos keep these instances busy for {needed:,.1f} hours, more than {hours:g}; "
            "give more --hours, or more --instances"
        )
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Asked:
    """What an estimate is made for; of the instances, serverless takes none, and a batch its plan's own number."""

    photos: int = _MILLION
    mode: Mode = "realtime"
    instance: str = "ml.m5.xlarge"
    instances: int = 1
    hours: float | None = None
    """How long a real-time endpoint stands; None: as long as the photos keep it busy, and not a minute more."""
    memory_mb: int = 2048
    """A serverless endpoint's memory."""
    kms: bool = False
    """Whether a KMS key of one's own encrypts what is stored; without bucket keys each request to S3 asks it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The bill of some photos, and what a month costs in which nobody sends any."""

    asked: Asked
    cost: Bill
    per_photo_dollars: float
    idle_month: tuple[LineItem, ...]
    idle_month_dollars: float

    def summary(self) -> Iterable[str]:
        """The lines for a person."""
        yield f"{self.asked.photos:,} photos of {_KILOBYTES:.0f} KB, {self.asked.mode}"
        yield from (_words(item) for item in self.cost.items)
        each = f"${self.per_photo_dollars:.7f} a photo"
        yield f"${self.cost.total_dollars:,.2f} in all, {each}; prices of {self.cost.as_of}, {self.cost.region}"
        yield f"${self.idle_month_dollars:,.2f} a month in which nobody sends a photo:"
        yield from (_words(item) for item in self.idle_month)
        yield "prices marked ? were not seen on AWS's own page: look them up before you rely on them"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to classify photos, in dollars; *photos_dollars* are all that a photo costs."""

    way: str
    endpoint_dollars: float
    orchestration_dollars: float
    storage_dollars: float
    other_dollars: float
    photos_dollars: float
    idle_month_dollars: float


@dataclass(frozen=True, slots=True)
class CostTable:
    """The ways side by side."""

    photos: int
    rows: tuple[Row, ...]
    as_of: str
    region: str
    unverified: tuple[str, ...]

    def summary(self) -> Iterable[str]:
        """The lines for a person."""
        yield f"{self.photos:,} photos of {_KILOBYTES:.0f} KB, in dollars; prices of {self.as_of}, {self.region}"
        yield f"{'':<26}{'endpoint':>10}{'workflow':>10}{'storage':>10}{'other':>10}{'all':>10}{'idle month':>12}"
        for row in self.rows:
            parts = (row.endpoint_dollars, row.orchestration_dollars, row.storage_dollars, row.other_dollars)
            cells = "".join(f"{dollars:>10,.2f}" for dollars in (*parts, row.photos_dollars))
            yield f"{row.way:<26}{cells}{row.idle_month_dollars:>12,.2f}"
        yield f"not seen on AWS's own page: {', '.join(self.unverified)}"


def estimate(asked: Asked) -> Estimate:
    """Price what *asked* says.

    Raises:
        UnknownPrice: the table lacks the instance type.
        TooFewHours: the endpoint would be gone before the last photo is answered.
    """
    cost = bill(_usage(asked))
    idle = bill(_idle(asked))
    return Estimate(
        asked=asked,
        cost=cost,
        per_photo_dollars=cost.total_dollars / asked.photos,
        idle_month=idle.items,
        idle_month_dollars=idle.total_dollars,
    )


def cost_table(photos: int = _MILLION) -> CostTable:
    """The same photos by each mode, and by an endpoint that stands for a month."""
    ways = {
        "real-time, while busy": Asked(photos),
        "real-time, a whole month": Asked(photos, hours=HOURS_PER_MONTH),
        "serverless": Asked(photos, "serverless"),
        "in batches": Asked(photos, "batch"),
    }
    found = {way: estimate(asked) for way, asked in ways.items()}
    doubtful = dict.fromkeys(
        item.what.replace(", ", " ") for each in found.values() for item in each.cost.items if item.unverified
    )
    table = price_table()
    rows = tuple(_row(way, each) for way, each in found.items())
    return CostTable(photos, rows, table.as_of, table.region, tuple(doubtful))


def stack_hourly_dollars(monitor_minutes: float = 60, *, kms: bool = False) -> float:
    """What the whole stack costs in an hour in which nobody sends a photo, besides its endpoint."""
    return bill(_standing(monitor_minutes, kms=kms)).total_dollars / HOURS_PER_MONTH


def kept_monthly_dollars(stored_bytes: int, image_bytes: int, *, kms: bool) -> float:
    """What a month costs of the foundation alone, as `down --keep-data` leaves it: the bytes, an alarm, and a key."""
    kept = RunUsage(
        storage_gigabyte_months=stored_bytes / _GIGABYTE,
        image_gigabyte_months=image_bytes / _GIGABYTE,
        alarm_months=1,
        key_months=float(kms),
    )
    return bill(kept).total_dollars


def up_price(settings: Settings) -> str:
    """One sentence on what the environment costs that `up` makes, and what `deploy` and photos add."""
    hour = stack_hourly_dollars(settings.monitor_minutes, kms=settings.kms == "yes")
    month = hour * HOURS_PER_MONTH
    stack = f"on AWS the stack costs about ${hour:.3f} an hour (${month:.2f} a month) while it waits"
    try:
        endpoint = _endpoint_price(settings)
    except UnknownPrice as unknown:
        endpoint = str(unknown)
    return f"{stack}; {endpoint}. Prices of {price_table().as_of}; scones cost says more."


def _endpoint_price(settings: Settings) -> str:
    if settings.mode == "serverless":
        asked, adds = Asked(mode="serverless", memory_mb=settings.serverless_memory_mb), "nothing while nobody asks"
    else:
        instance, count = settings.endpoint_instance, settings.endpoint_instances
        asked = Asked(instance=instance, instances=count)
        adds = f"{by_the_hour(instance, count)} until: scones down"
    million = estimate(asked).cost.total_dollars
    return f"the endpoint of `scones deploy` adds {adds}; a million photos cost about ${million:,.0f}"


@cache
def stack_kinds() -> Counter[str]:
    """How many resources of each type the whole template has, whatever its conditions leave out."""
    resources = template()["Resources"]
    assert isinstance(resources, dict)  # noqa: S101 - our own file
    return Counter(resource["Type"] for resource in resources.values())


def _usage(asked: Asked) -> RunUsage:
    photos, gigabytes = asked.photos, asked.photos * _KILOBYTES / _MILLION
    if asked.mode == "batch":
        given = Assumptions(instance=asked.instance, photos_per_second=_rate(asked.instance))
        usage = batch_usage(photos, given)
    else:
        # Each photo is uploaded once, and read by the function that checks it and by the one that sends it.
        usage = replace(photos_usage(photos), s3_puts=photos, s3_gets=2 * photos, endpoint_instance=asked.instance)
    if asked.mode == "realtime":
        usage = replace(usage, endpoint_seconds=asked.instances * _standing_hours(asked) * _SECONDS_PER_HOUR)
    if asked.mode == "serverless":
        seconds = photos * _SERVERLESS_SECONDS * asked.memory_mb / 1024
        # It cannot capture, so the function writes one object a photo.
        usage = replace(usage, serverless_gigabyte_seconds=seconds, s3_puts=usage.s3_puts + photos)
    uploaded = 0.0 if asked.mode == "batch" else gigabytes
    return replace(
        usage,
        hosting_gigabytes=gigabytes,
        storage_gigabyte_months=uploaded + _CAPTURED * gigabytes,
        log_gigabytes=usage.lambda_requests * _CALL_LOG_BYTES / _MILLION / 1000,
        key_requests=usage.s3_puts + usage.s3_gets if asked.kms else 0,
    )


def _standing_hours(asked: Asked) -> float:
    needed = asked.photos / (asked.instances * _rate(asked.instance)) / _SECONDS_PER_HOUR
    if asked.hours is not None and asked.hours < needed:
        raise TooFewHours(asked.photos, asked.hours, needed)
    return needed if asked.hours is None else asked.hours


def _rate(instance: str) -> float:
    """Photos that one instance answers in a second."""
    return _PER_CPU_SECOND * _CPUS.get(instance.rpartition(".")[2], 2)


def _idle(asked: Asked) -> RunUsage:
    """A month of what stands: the stack, and instances that wait."""
    waiting = asked.instances * HOURS_PER_MONTH * _SECONDS_PER_HOUR if asked.mode == "realtime" else 0
    standing = _standing(60, kms=asked.kms)
    return replace(standing, endpoint_seconds=waiting, endpoint_instance=asked.instance)


def _standing(monitor_minutes: float, *, kms: bool) -> RunUsage:
    """A month of the stack; the key of the template stands only where it is asked for."""
    return replace(standing_usage(stack_kinds(), monitor_minutes), key_months=float(kms))


def _row(way: str, found: Estimate) -> Row:
    def dollars(*starts: str) -> float:
        return sum(item.dollars for item in found.cost.items if item.what.startswith(starts))

    endpoint, workflow, storage = dollars("SageMaker"), dollars("Step Functions", "Lambda"), dollars("S3")
    total = found.cost.total_dollars
    return Row(
        way=way,
        endpoint_dollars=endpoint,
        orchestration_dollars=workflow,
        storage_dollars=storage,
        other_dollars=total - endpoint - workflow - storage,
        photos_dollars=total,
        idle_month_dollars=found.idle_month_dollars,
    )


def _words(item: LineItem) -> str:
    return f"  ${item.dollars:>10,.2f}{'?' if item.unverified else ' '} {item.what}: {item.quantity:,.0f} {item.unit}"

"""Costs: what a run would cost on AWS, from a dated price table and plain multiplication."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from scones.errors import SconesError
from scones.settings import Settings

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
    found = json.loads(files("scones").joinpath("prices.json").read_text(encoding="utf-8"))
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
    count, most, instance = settings.endpoint_instances, settings.endpoint_most_instances, settings.endpoint_instance
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

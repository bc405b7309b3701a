"""Estimates: what photos cost on AWS by each way to classify them, on paper, from the dated prices.

Plain multiplication of what is assumed below; what is measured on AWS belongs in its place.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from scones.costs import (
    HOURS_PER_MONTH,
    Bill,
    LineItem,
    RunUsage,
    UnknownPrice,
    bill,
    by_the_hour,
    photos_usage,
    price_table,
    standing_usage,
)
from scones.errors import SconesError
from scones.plan import Assumptions, batch_usage
from scones.release import template
from scones.settings import Settings

Mode = Literal["realtime", "serverless", "batch"]
MODES: tuple[str, ...] = get_args(Mode)

_MILLION = 1_000_000
_GIGABYTE = 1e9
_SECONDS_PER_HOUR = 3600
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

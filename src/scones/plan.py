"""Plan: what a batch of a given size takes on AWS, on paper: how much at once, time, dollars and quotas.

Plain multiplication: one batch is one function call, one Express execution and one transition of the Standard machine.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scones.costs import Bill, RunUsage, bill, photos_usage

_SECONDS_PER_HOUR = 3600
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
    cost = bill(_usage(photos, given, batch_seconds, endpoint_seconds=seconds * instances))
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
    return _usage(photos, given, plan.batch_seconds, endpoint_seconds=plan.seconds * plan.instances)


def batch_bill(photos: int) -> Bill:
    """What a batch costs on AWS besides its endpoint."""
    given = Assumptions()
    return bill(_usage(photos, given, plan_batch(photos).batch_seconds if photos else 0.0, endpoint_seconds=0.0))


def single_bill(photos: int) -> Bill:
    """What so many photos without couriers cost one by one, besides the endpoint: execution, functions, decision."""
    return bill(photos_usage(photos))


def orchestration_dollars(cost: Bill) -> float:
    """What of a bill is Step Functions and Lambda."""
    return sum(item.dollars for item in cost.items if item.what.startswith(("Step Functions", "Lambda")))


def _usage(photos: int, given: Assumptions, batch_seconds: float, endpoint_seconds: float) -> RunUsage:
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

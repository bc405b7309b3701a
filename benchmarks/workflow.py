"""Measure the workflow against its targets: one photo, many photos, dispatch, the local cloud's memory, and prices.

Usage: python -m benchmarks.workflow [--sizes 100 1000 10000] [--rounds 3] [--photos SOURCE] [--write]

The photos are real ones where SOURCE is a folder of them (default: those beside the checkout, if any), else the
built-in sample; they repeat under different keys. The model is trained for one epoch, once. With --write the table
goes into docs/workflow-figures.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil

from scones.aws.client import Credentials
from scones.aws.connection import connect
from scones.cli.session import PROGRAMS
from scones.config.settings import Settings
from scones.data.dataset import Sample
from scones.deployment.pricing import bill, plan_batch, single_usage
from scones.dispatch.assignment import assign
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import example_couriers, example_orders
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud, start, stop

PHOTOS = Path(os.environ.get("SCONES_PHOTOS", "photos"), "cifar100-two-wheelers")
DOCS = Path("docs/workflow-figures.md")
BEGIN, END = "<!-- bench-workflow: generated -->", "<!-- bench-workflow: end -->"
PREFIX = "asked/bench"
MILLION = 1_000_000
EXECUTIONS = 400
COURIERS, ORDERS = 1000, 3000


@dataclass(frozen=True)
class Row:
    """One line of the table: the measured values' median and range, beside the target."""

    what: str
    values: tuple[float, ...]
    unit: str
    target: str = ""
    met: Callable[[float], bool] | None = None

    def cells(self) -> str:
        """The line in Markdown."""
        middle = statistics.median(self.values)
        spread = f" ({_short(min(self.values))} to {_short(max(self.values))})" if len(self.values) > 1 else ""
        verdict = "" if self.met is None else "yes" if self.met(middle) else "**no**"
        return f"| {self.what} | {_short(middle)}{spread} {self.unit} | {self.target} | {verdict} |"


@dataclass(frozen=True)
class Batch:
    """One batch run: photos a second end to end, its time, CPU milliseconds a photo by program, and memory in MB."""

    size: int
    seconds: float
    cpu_ms: dict[str, float]
    grown_mb: float

    @property
    def per_second(self) -> float:
        """Photos a second, from the command to the written results."""
        return self.size / self.seconds


def main() -> None:
    """Measure, and show the table."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        cloud = start(Path(folder) / "cloud", programs=PROGRAMS)
        try:
            flow, photos = _deployed(cloud, Path(folder), options.photos)
            rows = [*_express(flow, photos), *_batches(flow, cloud, photos, options.sizes, options.rounds)]
        finally:
            stop(cloud)
    rows += [*_dispatch(options.rounds), *_prices()]
    table = "\n".join(["| what | measured | target | met |", "|---|---|---|---|", *(row.cells() for row in rows)])
    about = f"{Path(options.photos).name}; {options.rounds} rounds, median and range; {psutil.cpu_count()} cores"
    told = f"Photos: {about}.\n\n{table}"
    print(told)
    if options.write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.partition(END)[2]}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", default=str(PHOTOS) if PHOTOS.is_dir() else "sample")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def _deployed(cloud: Cloud, folder: Path, photos: str) -> tuple[Pipeline, list[bytes]]:
    """Bring an environment up with a trained model; returns it with its test photos."""
    settings = replace(
        Settings(),
        env="bench",
        endpoint_url=cloud.endpoint_url,
        region=cloud.region,
        data=photos,
        threshold=0.501,
        cache=folder / "cache",
        state=folder / "state",
    )
    flow = Pipeline(connect(settings, Credentials(*cloud.key)), settings, Silent())
    flow.up()
    flow.stage()
    flow.train()
    flow.approve(reason="for the benchmark")
    flow.deploy()
    tests = [sample for sample in flow.samples() if sample.split == "test"]
    return flow, flow.aws.bucket.get_all([sample.key for sample in tests])


def _express(flow: Pipeline, photos: Sequence[bytes]) -> list[Row]:
    """The whole Express chain on real photos: one client's median, and eight clients' rate."""
    samples = [flow.upload(f"{at}.png", photos[at % len(photos)]) for at in range(EXECUTIONS)]
    alone, eight = replace(flow.settings, clients=1), replace(flow.settings, clients=8)
    replace(flow, settings=eight).classify_samples(samples)  # environments start, caches fill
    one = replace(flow, settings=alone)
    times = [_timed(one, sample) for sample in samples[:100]]
    began = time.perf_counter()
    replace(flow, settings=eight).classify_samples(samples)
    rate = len(samples) / (time.perf_counter() - began)
    return [
        Row("Express chain, one client, p50", (statistics.median(times),), "ms", "<= 30 ms", lambda v: v <= 30),
        Row("Express chain, eight clients", (rate,), "a second", ">= 120 a second", lambda v: v >= 120),
    ]


def _timed(flow: Pipeline, sample: Sample) -> float:
    began = time.perf_counter()
    flow.classify_samples([sample])
    return (time.perf_counter() - began) * 1000


def _batches(flow: Pipeline, cloud: Cloud, photos: Sequence[bytes], sizes: Sequence[int], rounds: int) -> list[Row]:
    found: dict[int, list[Batch]] = {size: [] for size in sizes}
    _batch(flow, cloud, photos, 100, "warm")
    for number in range(rounds):
        for size in sizes:
            found[size].append(_batch(flow, cloud, photos, size, f"{number}"))
            print(f"round {number + 1}: {found[size][-1]}", file=sys.stderr)
    most = max(sizes)
    rows = [_batch_row(size, batches, most) for size, batches in found.items()]
    if {1000, 10_000} <= set(sizes):
        pairs = zip(found[10_000], found[1000], strict=True)
        times = tuple(large.seconds / small.seconds for large, small in pairs)
        rows.append(Row("10,000 photos against 1,000, time", times, "times", "<= 11", lambda v: v <= 11))
    for program in found[most][0].cpu_ms:
        cpu = tuple(batch.cpu_ms[program] for batch in found[most])
        rows.append(Row(f"CPU a photo, {program}, {most:,} photos", cpu, "ms"))
    grown = tuple(batch.grown_mb for batch in found[most])
    rows.append(Row(f"gateway's memory, growth over {most:,} photos beside what lies in S3", grown, "MB"))
    return rows


def _batch_row(size: int, batches: Sequence[Batch], most: int) -> Row:
    rates = tuple(batch.per_second for batch in batches)
    if size == most:
        return Row(f"batch of {size:,} photos, end to end", rates, "a second", ">= 400", lambda v: v >= 400)
    return Row(f"batch of {size:,} photos, end to end", rates, "a second")


def _batch(flow: Pipeline, cloud: Cloud, photos: Sequence[bytes], size: int, name: str) -> Batch:
    """Put so many photos in the bucket, then time the command from the prefix to the written results."""
    prefix = f"{PREFIX}-{name}-{size}/"
    bucket = flow.aws.bucket
    items = [(f"{prefix}{at:06d}.png", partial(photos.__getitem__, at % len(photos))) for at in range(size)]
    bucket.put_all(items, lambda *_: None)
    cpu, memory, stored = _cpu_seconds(cloud), _gateway(cloud).memory_info().rss, _stored(flow)
    began = time.perf_counter()
    batch = flow.classify_batch(bucket.uri(prefix))
    seconds = time.perf_counter() - began
    assert batch.newly_classified == size, batch.counts
    assert batch.counts["failed"] == 0, batch.failed
    spent = {name: (value - cpu.get(name, 0)) / size * 1000 for name, value in _cpu_seconds(cloud).items()}
    grown = _gateway(cloud).memory_info().rss - memory - (_stored(flow) - stored)
    return Batch(size, seconds, spent, grown / 2**20)


def _stored(flow: Pipeline) -> int:
    return sum(item.size for item in flow.aws.bucket.list())


def _gateway(cloud: Cloud) -> psutil.Process:
    return psutil.Process(cloud.pid).children()[0]


def _cpu_seconds(cloud: Cloud) -> dict[str, float]:
    """User and system time by program: the gateway, the functions, the endpoint and this command."""
    found = {"gateway": _spent(_gateway(cloud)), "functions": 0.0, "endpoint": 0.0, "command": _spent(psutil.Process())}
    for process in _gateway(cloud).children(recursive=True):
        words = " ".join(process.cmdline())
        found["functions" if "awslambdaric" in words else "endpoint"] += _spent(process)
    return found


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _dispatch(rounds: int) -> list[Row]:
    seen = [(f"{n}", "bicycle" if n % 2 else "motorcycle", 0.95) for n in range(COURIERS)]
    seconds = []
    for seed in range(rounds):
        couriers, orders = example_couriers(seen, seed), example_orders(ORDERS, seed)
        began = time.perf_counter()
        assign(couriers, orders, Rules())
        seconds.append(time.perf_counter() - began)
    what = f"dispatch of {COURIERS:,} couriers and {ORDERS:,} orders"
    return [Row(what, tuple(seconds), "s", "<= 1 s", lambda v: v <= 1)]


def _prices() -> list[Row]:
    batch, single = plan_batch(MILLION), bill(single_usage(MILLION))
    return [
        Row(
            "AWS, Step Functions and Lambda, a million photos one by one",
            (single.orchestration_dollars,),
            "$",
            "<= 3",
            lambda v: v <= 3,
        ),
        Row(
            "AWS, Step Functions and Lambda, a million photos in batches",
            (batch.orchestration_dollars,),
            "$",
            "<= 1",
            lambda v: v <= 1,
        ),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()

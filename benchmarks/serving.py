"""Compare the server with others: the same model, decoder and photos, side by side in one run.

Usage: python -m benchmarks.serving [--rounds 3] [--requests 3000] [--model DIR] [--photos SOURCE] [--only NAME ...]
           [--write]

Without a model file, a model is trained for one epoch on the built-in sample, once. The peers live in a virtual
environment of their own below build/, which is made once. With --write the table goes into docs/serving.md.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks.load import Outcome, Question, ask, wait_for_ping
from benchmarks.servers import KINDS, OURS, Kind, Place, peer_versions, prepare_peers, running
from benchmarks.serving_chart import draw

from scones.data.decode import decode
from scones.data.loading import load_dataset
from scones.domain.decision import VEHICLES
from scones.model.inference import Model
from scones.model.model_file import ABOUT, read_model_file

BUILD = Path("build/bench-serving")
DOCS = Path("docs/serving.md")
CHART = Path("docs/serving.svg")
BEGIN, END = "<!-- bench-serving: generated -->", "<!-- bench-serving: end -->"
CONNECTIONS = 32
BATCHES = (1, 2, 4, 8)
COLUMNS = (
    "server",
    "CPU s per 1,000 (min to max)",
    "times ours",
    "share of the limit",
    "the server's own",
    "answers a second",
    "added ms, 1 connection",
    "start s",
    "PSS MB",
    "failed",
)


@dataclass(frozen=True)
class Figures:
    """One round of one server. Memory is in MB, CPU in milliseconds a request, which is seconds a thousand."""

    cpu_ms: float
    per_second: float
    added_ms: float
    start_seconds: float
    pss_mb: float
    failed: int


@dataclass(frozen=True)
class Limit:
    """The bare loop: CPU milliseconds a photo at the best size of batch, and the median time of one photo alone."""

    cpu_ms: float
    batch: int
    p50_ms: float


@dataclass(frozen=True)
class Bench:
    """What all servers share in one run."""

    model_file: Path
    photos: Path
    questions: dict[str, list[Question]]
    programs: Path
    workers: int
    requests: int
    load_before: float


def main() -> int:
    """Measure and show; return 1 if any answer of ours was wrong or missing."""
    options = _options()
    kinds = [kind for kind in KINDS if not options.only or kind.name in options.only]
    bench = prepare(options.model, options.photos, kinds, requests=options.requests)
    limits: list[Limit] = []
    rounds: dict[str, list[Figures]] = {kind.name: [] for kind in kinds}
    for number in range(options.rounds):
        limits.append(_limit(bench))
        for kind in kinds:
            figures = _measure(bench, kind, limits[-1])
            rounds[kind.name].append(figures)
            print(f"round {number + 1}: {kind.name}: {_line(figures)}", file=sys.stderr)
    table = _table(bench, limits, rounds)
    print(table)
    (BUILD / "result.json").write_text(
        json.dumps(
            {"limits": list(map(asdict, limits)), "rounds": {k: list(map(asdict, v)) for k, v in rounds.items()}}
        )
    )
    if options.write:
        _write(table)
        cpu = {name: [one.cpu_ms for one in figures] for name, figures in rounds.items()}
        draw(CHART, OURS, [limit.cpu_ms for limit in limits], cpu)
    return int(any(figures.failed for figures in rounds.get(OURS, [])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--photos", default="sample")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def prepare(model_file: Path | None, source: str, kinds: Sequence[Kind], *, requests: int) -> Bench:
    """Lay out photos, model and questions, and the peers where there are any among *kinds*."""
    load = os.getloadavg()[0]
    BUILD.mkdir(parents=True, exist_ok=True)
    collection = load_dataset(source, classes=VEHICLES, cache=BUILD / "cache", progress=lambda *_: None)
    folder = BUILD / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    photos = [photo for photo in collection.photos if photo.split == "test"]
    for number, photo in enumerate(photos):
        (folder / f"{number:05d}").write_bytes(photo.data)
    model_file = model_file or _train(source)
    job = BUILD / "ml"
    job.mkdir(exist_ok=True)
    (job / "model").unlink(missing_ok=True)
    (job / "model").symlink_to(model_file.resolve())
    model = Model(read_model_file(model_file))
    blobs = [photo.data for photo in photos]
    answers = [model.predict(decode(blob, model.size)[np.newaxis])[0].tolist() for blob in blobs]
    questions = {
        kind.name: [Question(kind.request(blob), answer) for blob, answer in zip(blobs, answers, strict=True)]
        for kind in kinds
    }
    peers = [kind for kind in kinds if kind.name != OURS]
    programs = prepare_peers(BUILD.resolve() / "peers") if peers else Path()
    return Bench(model_file, folder, questions, programs, len(os.sched_getaffinity(0)), requests, load)


def _train(source: str) -> Path:
    """Train by the program that SageMaker runs."""
    base = BUILD / "training"
    if (base / "model" / ABOUT).exists():
        return base / "model"
    shutil.rmtree(base, ignore_errors=True)
    collection = load_dataset(source, classes=VEHICLES, cache=BUILD / "cache", progress=lambda *_: None)
    for photo in collection.photos:
        if photo.split == "train":
            path = base / "input/data/training" / photo.label / Path(photo.name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo.data)
    config = base / "input/config"
    config.mkdir(parents=True)
    values = {"classes": ",".join(VEHICLES), "seed": "0", "data_version": "bench"}
    (config / "hyperparameters.json").write_text(json.dumps(values))
    (config / "inputdataconfig.json").write_text(json.dumps({"training": {}}))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(base)}
    subprocess.run([sys.executable, "-m", "scones.training"], check=True, env=environment, stdout=sys.stderr)
    return base / "model"


def _limit(bench: Bench) -> Limit:
    """Run the bare loop in as many processes as the servers have workers, so that both share the cores alike."""
    found = {batch: _bare(bench, batch, bench.workers) for batch in BATCHES}
    best = min(found, key=lambda batch: found[batch][0])
    return Limit(found[best][0], best, _bare(bench, 1, 1)[1])


def _bare(bench: Bench, batch: int, processes: int) -> tuple[float, float]:
    arguments = [str(bench.model_file), str(bench.photos), str(batch), "400"]
    command = [sys.executable, "-m", "benchmarks.bare_loop", *arguments]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    results = [json.loads(child.communicate()[0]) for child in children]
    return statistics.mean(one["cpu_ms"] for one in results), statistics.mean(one["p50_ms"] for one in results)


def _measure(bench: Bench, kind: Kind, limit: Limit) -> Figures:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = environment_for(bench, port)
    questions = bench.questions[kind.name]
    place = Place(bench.programs, environment, BUILD / "servers.log")
    with running(kind, place, port, bench.workers) as tree:
        start_seconds = wait_for_ping(port, kind.ping, seconds=60)
        # All workers must have answered something before anything is counted.
        ask(port, questions, connections=CONNECTIONS, requests=10 * CONNECTIONS)
        alone = ask(port, questions, connections=1, requests=200)
        cpu, begin = tree.cpu_seconds(), time.perf_counter()
        loaded = ask(port, questions, connections=CONNECTIONS, requests=bench.requests)
        seconds = time.perf_counter() - begin
        cpu_ms = 1000 * (tree.cpu_seconds() - cpu) / bench.requests
        added_ms = alone.p50_ms() - limit.p50_ms
        return Figures(cpu_ms, bench.requests / seconds, added_ms, start_seconds, tree.pss_mb(), _failed(loaded))


def environment_for(bench: Bench, port: int) -> dict[str, str]:
    """What the servers find in their environment, ours and the peers."""
    return {
        "PYTHONPATH": f"{Path('src').resolve()}{os.pathsep}{Path.cwd()}",
        "BENCH_MODEL": str(read_model_file(bench.model_file).model_path.resolve()),
        "BENCH_SIZE": str(read_model_file(bench.model_file).image_size),
        "SAGEMAKER_BASE_DIR": str((BUILD / "ml").resolve()),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SCONES_BIND_HOST": "127.0.0.1",
        "SCONES_SERVE_WORKERS": str(bench.workers),
        "BENTOML_DO_NOT_TRACK": "true",
    }


def _failed(outcome: Outcome) -> int:
    return outcome.wrong + outcome.refused + outcome.broken


def _line(figures: Figures) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in asdict(figures).items())


def _table(bench: Bench, limits: Sequence[Limit], rounds: dict[str, list[Figures]]) -> str:
    """Write the medians as Markdown; a share compares each round with its own limit."""
    ours = _median(rounds[OURS], "cpu_ms") if rounds.get(OURS) else float("nan")
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, figures in rounds.items():
        pairs = list(zip(limits, figures, strict=True))
        share = statistics.median(limit.cpu_ms / one.cpu_ms for limit, one in pairs)
        cpu = _median(figures, "cpu_ms")
        cells = [
            name,
            f"{cpu:.2f} ({min(one.cpu_ms for one in figures):.2f} to {max(one.cpu_ms for one in figures):.2f})",
            f"{cpu / ours:.1f}",
            f"{share:.0%}",
            f"{statistics.median(one.cpu_ms - limit.cpu_ms for limit, one in pairs):.2f}",
            f"{_median(figures, 'per_second'):,.0f}",
            f"{_median(figures, 'added_ms'):.2f}",
            f"{_median(figures, 'start_seconds'):.2f}",
            f"{_median(figures, 'pss_mb'):.0f}",
            str(sum(one.failed for one in figures)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    best = statistics.median(one.cpu_ms for one in limits)
    batches = ", ".join(sorted({str(one.batch) for one in limits}))
    lines.append(
        f"\nMedians of {len(limits)} rounds, each server alone in turn; {bench.workers} workers on as many cores,"
        f" {CONNECTIONS} connections, {bench.requests:,} requests a round, every answer checked. The limit, a bare loop"
        f" of decoder and model, took {best:.2f} CPU s per 1,000 photos (best batch: {batches}). Load average of the"
        f" machine before the run: {bench.load_before:.1f}; where that is not near 0, others shared the cores, and only"
        " CPU seconds and shares can be compared."
    )
    if bench.programs != Path():
        lines.append(f"Peers: {peer_versions(bench.programs)}.")
    return "\n".join(lines)


def _median(figures: Sequence[Figures], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in figures))


def _write(table: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    picture = f"![CPU seconds per 1,000 answers, by server]({CHART.name})\n\n"
    DOCS.write_text(f"{before}{BEGIN}\n{picture}{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

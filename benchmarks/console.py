"""Measure the console: first paint with many decisions on the local cloud, memory, and work while idle.

Usage: python -m benchmarks.console [--decisions 100000]
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import sync_playwright

from scones.aws.client import Credentials
from scones.aws.connection import connect
from scones.cli.session import start_cloud
from scones.config.settings import Settings
from scones.data.decode import png
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones_local.cloud import stop

RUN = (sys.executable, "-c", "from scones.cli import main; main()")
PAINT = "() => performance.getEntriesByType('paint').find(each => each.name === 'first-contentful-paint').startTime"


def fill(flow: Pipeline, count: int) -> None:
    """Write so many decisions, spread over the last day."""
    import numpy as np  # noqa: PLC0415

    key = flow.aws.bucket.key(flow.aws.bucket.put("asked/photo.png", png(np.full((64, 64, 3), 90, np.uint8))))
    now = datetime.now(UTC)
    items = []
    for number in range(count):
        recorded = (now - timedelta(seconds=number * 86_000 / count)).isoformat(timespec="microseconds")[:26] + "Z"
        about = {"outcome": "classified", "label": "bicycle", "confidence": 0.93, "threshold": 0.8, "dispatch": "none"}
        places = {"s3_bucket": flow.aws.bucket.name, "s3_key": key, "day": recorded[:10], "recorded": recorded}
        ids = {"photo_id": f"{number:064d}", "execution": f"e{number}", "model_version": "bench"}
        items.append({**about, **places, **ids, "inferences": [0.93, 0.07], "classes": ["bicycle", "motorcycle"]})
    for start in range(0, count, 2500):
        flow.aws.tables.decisions.put_all(items[start : start + 2500])  # type: ignore[arg-type]


def measure(url: str, rounds: int = 7) -> dict[str, float]:
    """The median milliseconds to the first paint of each page, each in a fresh tab."""
    base = f"http://{urlsplit(url).netloc}"
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context()
        context.new_page().goto(url)
        for path in ("/", "/decisions", "/decisions?outcome=failed", "/decision?execution=e5"):
            times = []
            for _ in range(rounds):
                page = context.new_page()
                page.goto(base + path)
                page.wait_for_load_state("networkidle")
                times.append(page.evaluate(PAINT))
                page.close()
            found[path] = round(statistics.median(times))
        browser.close()
    return found


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    count = parser.parse_args().decisions
    folder = Path(tempfile.mkdtemp())
    settings = replace(Settings(), env="bench", state=folder / "state", cache=folder / "cache")
    cloud = start_cloud(settings)
    try:
        local = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
        flow = Pipeline(connect(local, Credentials(*cloud.key)), local, Silent())
        flow.up()
        fill(flow, count)
        options = ("console", "--env", "bench", "--no-browser", "--json")
        variables = {"XDG_STATE_HOME": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
        (folder / "scones").symlink_to(folder / "state")
        with subprocess.Popen([*RUN, *options], stdout=subprocess.PIPE, env=variables) as process:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            figures: dict[str, object] = {"first_paint_ms": measure(url)}
            console = psutil.Process(process.pid)
            before, started = console.cpu_times(), time.monotonic()
            time.sleep(20)
            after = console.cpu_times()
            used = after.user + after.system - before.user - before.system
            figures["memory_mb"] = round(console.memory_info().rss / 2**20)
            figures["idle_cpu_percent"] = round(100 * used / (time.monotonic() - started), 2)
            process.terminate()
        print(json.dumps(figures, indent=1))
    finally:
        stop(cloud)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""The demo as its user runs it: a process of its own, ended in every way that users end one."""

import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from scones.cli.group import scones as scones_commands
from scones.data.sources.synthetic import render

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCONES = Path(sys.executable).with_name("scones")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = ROOT / "reports" / "console"
LONG_SECONDS = 240


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment in which the wheel, as it would be published, is installed alone."""
    folder = tmp_path_factory.mktemp("wheel")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # A release makes the wheel from the source archive, not from the repository.
    subprocess.run([*pip, "install", f"--target={folder / 'hatchling'}", "hatchling"], check=True)
    hatchling: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--target=sdist", "--directory", folder]
    subprocess.run(hatchling, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(folder / "hatchling")}, check=True)
    (archive,) = folder.glob("scones-*.tar.gz")
    subprocess.run([*pip, "wheel", "--no-deps", f"--wheel-dir={folder}", archive], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    programs = folder / "env" / "bin"
    (built,) = folder.glob("scones-*.whl")
    into = [*pip, "--python", programs / "python", "install", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*into, built], check=True)
    for command in scones_commands.commands:
        shown = subprocess.run([programs / "scones", command, "--help"], check=False, capture_output=True, text=True)
        assert (shown.returncode, shown.stderr) == (0, ""), f"the base installation lacks what {command} imports"
    refused = subprocess.run([programs / "scones", "local", "up"], check=False, capture_output=True, text=True)
    assert refused.stderr == ("scones: awslambdaric is not installed; run: python -m pip install 'scones[local]'\n"), (
        "an extra that is missing is named in one line, with the command"
    )
    subprocess.run([*into, f"{built}[all]"], check=True)
    installed = [path for path in (folder / "env").rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.name for path in (folder / "env").glob("lib/python*/site-packages/*")}
    assert [name for name in names if name.startswith(("torch", "nvidia", "pandas", "mkdocs"))] == []
    assert built.stat().st_size < 2_000_000
    assert sum(path.stat().st_size for path in installed) < 750_000_000
    return programs


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose state, cache and temporary folders are the test's own; nothing may be left in them."""
    folders = {name: tmp_path / name for name in ("state", "cache", "tmp", "work")}
    for folder in folders.values():
        folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCONES_"))}
    yield kept | {
        "XDG_STATE_HOME": str(folders["state"]),
        "XDG_CACHE_HOME": str(folders["cache"]),
        "TMPDIR": str(folders["tmp"]),
    }
    assert_nothing_left(tmp_path)


def assert_nothing_left(folder: Path) -> None:
    """No process that was started there, no local cloud's folder, no temporary file."""
    deadline = time.monotonic() + 60
    while (left := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    assert list((folder / "state").glob("scones/*")) == []
    assert list((folder / "tmp").iterdir()) == []


def processes(folder: Path) -> list[str]:
    """Every process whose environment or command names *folder*."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


def start(home: dict[str, str], *arguments: str, program: Path = SCONES) -> subprocess.Popen[str]:
    """Start a demo on the sample."""
    command: list[str | Path] = [program, "demo", "--data", "sample", "--json", *arguments]
    work = Path(home["TMPDIR"]).parent / "work"
    return subprocess.Popen(
        command, env=home, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Read stderr until *line* comes."""
    assert process.stderr
    for said in process.stderr:
        if said.startswith(line):
            return
    pytest.fail(f"{line!r} was never said")


@pytest.mark.timeout(900)
def test_the_demo_ends_with_figures_a_report_and_nothing_left(home: dict[str, str], wheel: Path) -> None:
    """Every step ran, the drift drill raised an alarm, and the cloud it ran on is gone.

    A second run does the same, in which the wheel's files are all that there is. The first one goes on with the loop.
    """
    for program, more in ((SCONES, ["--loop"]), (wheel / "scones", [])):
        process = start(home, *more, program=program)
        out, err = process.communicate(timeout=3 * LONG_SECONDS)
        assert process.returncode == 0, err
        demo = json.loads(out)
        assert demo["dataset"]["kind"] == "rendered"
        assert sum(demo["executions"].values()) == demo["dataset"]["test"]
        assert demo["executions"]["failed"] == 0
        assert (demo["drift"]["baseline_alarm"], demo["drift"]["shifted_alarm"]) == (False, True)
        assert demo["dispatch"]["assigned"] > 0
        on_time = demo["on_time"]
        assert on_time["without a classifier"] < on_time["with this model"] <= on_time["with perfect knowledge"] + 0.01
        assert demo["left_behind"] == 0
        page = Path(demo["report"]).read_text()
        assert "drawings" in page
        assert "not photos" in page
        assert "drawings" in err, "the sample must be announced on screen too"
        assert bool(demo["loop"]) == bool(more)
        if more:
            assert_the_loop_ends_well(demo["loop"], err)


def assert_the_loop_ends_well(loop: dict[str, Any], err: str) -> None:
    """The retrained model serves and is right more often; the one with poisoned labels was refused, and why is said."""
    assert loop["drift_alarm"]
    assert 0 < loop["measuring_labels"] < loop["labels"]
    good, poisoned = loop["retraining"], loop["poisoned"]
    assert (good["outcome"], loop["release"], loop["live_model"]) == ("deployed", 2, good["model"]), good["why"]
    assert loop["accuracy_after"] > loop["accuracy_before"]
    assert loop["p_value"] < 0.05
    assert f"n = {loop['judged_photos']}" in err
    assert loop["canary"].get("failed", 0) == 0 < sum(loop["canary"].values())
    assert poisoned["outcome"] == "refused"
    assert poisoned["labels"] > good["labels"]
    assert re.search(r"(challenger|gate_margin|robustness|ood|labels): .* (less|more) than the ", poisoned["why"])
    assert f"refused: {poisoned['why']}" in err


@pytest.mark.parametrize(
    ("line", "signal_number"),
    [
        *itertools.product(
            ["local cloud ...", "stage ...", "train ...", "classify ..."], [signal.SIGINT, signal.SIGTERM]
        ),
        ("drift drill ...", signal.SIGINT),
        ("reviews: ", signal.SIGTERM),
    ],
)
def test_an_interrupted_demo_says_so_and_leaves_nothing(
    home: dict[str, str], line: str, signal_number: signal.Signals
) -> None:
    """Ctrl-C, or a polite kill, in any step: one line, the usual exit code, no process and no file."""
    process = start(home, *(["--loop"] if line == "reviews: " else []))
    wait_for(process, line)
    time.sleep(3 if line == "train ..." else 0.3)
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=LONG_SECONDS)
    assert (process.returncode, out) == (130, "")
    assert "scones: stopped" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("line", ["train ...", "classify ..."])
def test_a_demo_that_is_killed_outright_leaves_nothing(home: dict[str, str], line: str) -> None:
    """The local cloud watches its owner: when the demo dies by kill -9, everything ends with it."""
    process = start(home)
    wait_for(process, line)
    time.sleep(1)
    process.kill()
    process.communicate(timeout=LONG_SECONDS)


def test_a_second_demo_at_the_same_time_is_told_so(home: dict[str, str]) -> None:
    """It ends in one line that names the first one, which goes on undisturbed."""
    first = start(home)
    wait_for(first, "stage ...")
    second = start(home)
    _, err = second.communicate(timeout=LONG_SECONDS)
    assert second.returncode == 1
    assert "already runs" in err
    assert "Traceback" not in err
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=LONG_SECONDS)


def test_the_aws_command_and_the_console_show_what_a_kept_demo_left_standing(home: dict[str, str]) -> None:
    """Stock aws lists the bucket, starts an execution and describes the endpoint; `scones down` leaves nothing.

    The documentation's pictures of the console are taken here.
    """
    process = start(home, "--keep")
    out, err = process.communicate(timeout=LONG_SECONDS)
    assert process.returncode == 0, err
    assert json.loads(out)["left_behind"] > 0
    exports = json.loads(_run([SCONES, "local", "env", "--json"], home))
    environment = {**home, **exports}
    aws = Path(sys.executable).with_name("aws")
    bucket = _run([aws, "s3", "ls"], environment).split()[-1]
    assert bucket == "scones-dev-000000000000-us-east-1"
    endpoint = json.loads(_run([aws, "sagemaker", "describe-endpoint", "--endpoint-name", "scones-dev"], environment))
    assert endpoint["EndpointStatus"] == "InService"
    keys = json.loads(_run([aws, "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", "asked/"], environment))
    event = json.dumps({"image_data": "", "s3_bucket": bucket, "s3_key": keys["Contents"][0]["Key"]})
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:scones-dev"
    command: list[str | Path] = [
        aws,
        "stepfunctions",
        "start-sync-execution",
        "--state-machine-arn",
        arn,
        "--input",
        event,
    ]
    execution = json.loads(_run(command, environment))
    assert execution["status"] in {"SUCCEEDED", "FAILED"}
    assert execution.get("error") in {None, "THRESHOLD_CONFIDENCE_NOT_MET"}
    if CHROMIUM:
        _run([SCONES, "simulate", "--events", "60", "--duplicates", "0", "--corrupt", "0", "--json"], home)
        take_pictures(home)
    receipt = json.loads(_run([SCONES, "down", "--yes", "--json"], home))
    assert receipt["remaining"] == []
    assert not json.loads(_run([SCONES, "local", "status", "--json"], home))["running"]


def take_pictures(home: dict[str, str]) -> None:
    """Look at pages of the console, and keep a picture of each in reports/console/."""
    command: list[str | Path] = [SCONES, "console", "--no-browser", "--json"]
    PICTURES.mkdir(parents=True, exist_ok=True)
    photo = Path(home["TMPDIR"]).parent / "courier.png"
    render("bicycle", "test", 1).save(photo)
    with (
        subprocess.Popen(command, env=home, stdout=subprocess.PIPE, text=True) as console,
        sync_playwright() as playwright,
    ):
        assert console.stdout
        url = json.loads(console.stdout.readline())["url"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 760}, locale="en-GB")
        page.goto(url)
        base = page.url.rstrip("/")
        for name in ("overview", "try", "decisions", "review", "models", "orders"):
            page.emulate_media(color_scheme="dark" if name == "orders" else "light")
            page.goto(f"{base}/{name.removeprefix('overview')}", wait_until="networkidle")
            assert page.locator("h1").count() == 1
            if name == "try":
                page.set_input_files("#photo", photo)
                page.click("text=Classify")
                page.locator(".overlay").wait_for()
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                picture.save(PICTURES / f"{name}.webp", quality=80)
        browser.close()
        console.terminate()


def _run(command: list[str | Path], environment: dict[str, str]) -> str:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout

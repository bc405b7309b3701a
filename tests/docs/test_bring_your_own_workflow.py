"""Every command of docs/bring-your-own-workflow.md runs, in order, and no program connects to another machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bring-your-own-workflow.md"
WATCH = """
import contextlib, os, sys
folder = os.path.dirname(__file__)
own = (None, "", "127.0.0.1", "::1", "localhost", "0.0.0.0", "::", b"127.0.0.1", b"localhost", os.uname().nodename)
def note(name, line):
    with open(os.path.join(folder, name), "a") as file:
        file.write(f"{line}\\n")
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in own:
        note("connections", f"connect {arguments[1]} by {sys.orig_argv}")
    if event == "socket.getaddrinfo" and arguments[0] not in own:
        note("connections", f"resolve {arguments[0]} by {sys.orig_argv}")
with contextlib.suppress(OSError):  # the cloud's functions may not write there, so a connection elsewhere fails them
    note("programs", sys.orig_argv)
sys.addaudithook(watch)
"""
"""Python's own hook, in every Python program that the page starts: the cloud, kernels, `aws`, functions, training."""
PROGRAMS = ("scones_local.gateway", "ipykernel_launcher", "scones.training", "scones.serving", "bin/aws")


def outcome(path: Path) -> dict[str, Any]:
    """What the last cell of an executed notebook printed."""
    cell = json.loads(path.read_text())["cells"][-1]
    (text,) = ("".join(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the page's commands find what a checkout has."""
    for sdk in ("sdk2", "sdk3"):
        if not (Path(sys.prefix) / sdk / "bin" / "jupyter-execute").exists():
            pytest.skip("the SageMaker SDKs are not installed; `make notebook-tools` does it where the network allows")
    folder = tmp_path_factory.mktemp("own")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    return folder


def run(place: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, with nothing of this process's settings for AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}  # noqa: TID251
    environment = {
        **kept,
        "PATH": f"{sys.prefix}/bin{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(place / "watch"),
        "XDG_STATE_HOME": str(place / "state"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MPLBACKEND": "agg",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_page_runs_and_nothing_leaves_the_machine(place: Path) -> None:
    """The notebooks with both versions of the SDK, and the three functions with the `aws` command."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    ended = "trap 'scones local down >/dev/null' EXIT\n"
    done = run(place, ended + "".join(blocks))
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("executed", "executed_sdk3"):
        found = outcome(place / "course" / f"{name}.ipynb")
        assert found["photos"] == 40
        assert sum(found["answer"]) == pytest.approx(1, abs=1e-6)
        assert len(found["executions"]) == 12
        assert set(found["executions"]) <= {"SUCCEEDED", "THRESHOLD_CONFIDENCE_NOT_MET"}
        assert found["captured"] == 1 + 12
    assert re.search(r'"(SUCCEEDED|THRESHOLD_CONFIDENCE_NOT_MET)"', done.stdout)
    watched = (place / "watch" / "programs").read_text()
    assert [name for name in PROGRAMS if name not in watched] == []
    connections = place / "watch" / "connections"
    assert not connections.exists(), connections.read_text()


def test_a_connection_elsewhere_would_be_seen(place: Path) -> None:
    """The hook runs in the page's programs; the event alone is raised here, without a connection."""
    script = f'{sys.executable} -c \'import sys; sys.audit("socket.connect", None, ("192.0.2.1", 443))\''
    assert run(place, script).returncode == 0
    connections = place / "watch" / "connections"
    assert "connect ('192.0.2.1', 443)" in connections.read_text()
    connections.unlink()

"""The notebooks run from their first cell to their last, as in Jupyter, and end with nothing left."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scones.data.sources.synthetic import render

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
PROGRAMS = Path(sys.executable).parent

IN_JUPYTER = """\
import asyncio
import traceback

assert asyncio.get_running_loop().is_running()
try:
    pipeline.aws.bucket.get("nothing/here")
except Exception as error:
    print(type(error).__mro__)
    print("".join(traceback.format_exception(error)))
"""
"""A cell of the test's own: Jupyter's event loop runs, and an error of AWS shows what it says and not botocore."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with drawings where a reader has photos."""
    for label in ("bicycle", "motorcycle"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(40):
            render(label, "train", number).resize((160, 160)).save(tmp_path / "photos" / label / f"{number:02}.jpg")
    yield tmp_path
    down: list[str | Path] = [PROGRAMS / "scones", "local", "down", "--yes", "--env", "notebook"]
    subprocess.run(down, env=environment(tmp_path), cwd=tmp_path, check=False)


def environment(folder: Path) -> dict[str, str]:
    """The user's, with nothing of this process's settings for AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCONES_"))}  # noqa: TID251
    path = f"{PROGRAMS}{os.pathsep}{kept['PATH']}"
    # Small photos cost less of the test's time, and change figures only.
    own = {"XDG_STATE_HOME": str(folder / "state"), "JUPYTER_PLATFORM_DIRS": "1", "SCONES_IMAGE_SIZE": "96"}
    return {**kept, **own, "PATH": path}


def execute(notebook: dict[str, Any], name: str, folder: Path) -> list[dict[str, Any]]:
    """Execute a notebook in *folder*; the outputs of all cells."""
    (folder / name).write_text(json.dumps(notebook))
    done = subprocess.run(
        [PROGRAMS / "jupyter", "execute", "--inplace", "--timeout=300", name],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((folder / name).read_text())["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]


def shown(outputs: list[dict[str, Any]], kind: str) -> str:
    """All outputs of one type as one text."""
    return "".join("".join(output.get("data", {}).get(kind, ())) for output in outputs)


def printed(outputs: list[dict[str, Any]]) -> str:
    """What the cells print, on both streams."""
    return "".join("".join(output.get("text", ())) for output in outputs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_notebooks_run_and_show_tables_figures_and_the_alarm(home: Path) -> None:
    """The second goes on in the environment of the first, and deletes it."""
    if not shutil.which("jupyter", path=str(PROGRAMS)):
        pytest.skip("Jupyter is not installed; `make site` does it where the network allows")
    first = execute(json.loads((NOTEBOOKS / "photos_to_endpoint.ipynb").read_text()), "first.ipynb", home)
    for result in ("StageResult", "DeployResult", "Reviews", "Status"):
        assert f"<b>{result}</b>" in shown(first, "text/html")
    assert shown(first, "image/png")
    said = printed(first)
    assert re.search(r"^(notice|warning|critical): .+: .+", said, re.MULTILINE), said
    assert "\x1b[2K" not in said
    second = json.loads((NOTEBOOKS / "better_threshold.ipynb").read_text())
    own: dict[str, Any] = {
        "cell_type": "code",
        "id": "own",
        "metadata": {},
        "source": IN_JUPYTER,
        "execution_count": None,
        "outputs": [],
    }
    second["cells"].insert(2, own)
    outputs = execute(second, "second.ipynb", home)
    said = printed(outputs)
    assert "SconesError" in said
    assert "AwsError" in said
    assert "/botocore/" not in said
    assert "for 1,000 photos" in said
    assert "<b>RejudgeResult</b>" in shown(outputs, "text/html")
    assert "<td>remaining</td><td>none</td>" in shown(outputs, "text/html")
    assert list((home / "state" / "scones").glob("*")) == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    """They are as old as the run that made them; the test above makes them new each time."""
    cells = json.loads(path.read_text())["cells"]
    assert len(cells) >= 10
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)

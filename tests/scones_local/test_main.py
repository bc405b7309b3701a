"""The local cloud as a command of its own, for projects that have never heard of Scones."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scones_local.__main__ import main

PROJECT = """
import boto3, sys
s3 = boto3.client("s3")
s3.create_bucket(Bucket="photos")
s3.put_object(Bucket="photos", Key="a", Body=b"hello")
account = boto3.client("sts").get_caller_identity()["Account"]
print(s3.get_object(Bucket="photos", Key="a")["Body"].read().decode(), account)
print([name for name in sys.modules if name.split(".")[0] == "scones"])
"""


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    status = main([str(word) for word in words])
    return (status, *capsys.readouterr())


def test_a_project_uses_it_by_two_lines(tmp_path: Path) -> None:
    """up, eval of env, and any boto3 program; nothing of scones is loaded, and down leaves nothing."""
    command = f"{sys.executable} -m scones_local --state {tmp_path / 'c'}"
    script = f"""set -e
{command} up --account 123456789012 > /dev/null
eval "$({command} env)"
{sys.executable} -c '{PROJECT}'
{command} down
{command} status || test $? = 3
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}  # noqa: TID251
    done = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["hello 123456789012", "[]", '{"running": false, "died": false}']
    assert list(tmp_path.iterdir()) == []


def test_up_finds_what_runs_already(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A second up is the same cloud; status describes it."""
    algorithm = ("--image-classification", "python -m mine")
    first = run(
        capsys, "--state", tmp_path / "c", "up", "--image-prefix", "mine", "--serve", "python 'my serve.py'", *algorithm
    )
    try:
        found: dict[str, Any] = json.loads(first[1])
        assert run(capsys, "--state", tmp_path / "c", "up") == first
        assert run(capsys, "--state", tmp_path / "c", "status") == first
        options = json.loads((tmp_path / "c" / "options.json").read_text())
        assert options["programs"]["serve"] == ["python", "my serve.py"]
        assert options["programs"]["image_classification"] == ["python", "-m", "mine"]
        assert found["running"] is True
    finally:
        assert run(capsys, "--state", tmp_path / "c", "down")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("env",), "no local cloud runs in"),
        (("up", "--account", "12"), "12 digits"),
        (("up", "--port", "1000000"), "cannot be used"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """Exit status 1, and the reason on the error output."""
    status, output, errors = run(capsys, "--state", tmp_path / "c", *words)
    assert (status, output) == (1, "")
    assert message in errors
    assert len(errors.splitlines()) == 1

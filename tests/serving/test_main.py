"""The program ends with a clear line where it cannot serve."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scones.model.model_file import ABOUT, BASELINE, MODEL, SUMS, ModelDescription, write_model_file


def run(base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the server, which must end by itself."""
    environment = os.environ | {  # noqa: TID251 - a child process inherits it
        "SAGEMAKER_BASE_DIR": str(base),
        "SCONES_BIND_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": "1",
    }
    command = [sys.executable, "-m", "scones.serving"]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=30, check=False)


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: flip_a_bit(folder / MODEL), "model.onnx differs from its checksum"),
        (lambda folder: flip_a_bit(folder / ABOUT), "model.json differs from its checksum"),
        (lambda folder: (folder / SUMS).unlink(), "SHA256SUMS is missing"),
        (shutil.rmtree, "SHA256SUMS is missing"),
    ],
)
def test_a_model_that_fails_its_checksum_never_serves(
    base: Path, tmp_path: Path, free_port: int, spoil: Callable[[Path], None], reason: str
) -> None:
    """One flipped bit, or a missing file, and the program exits with 1 and says which file it was."""
    shutil.copytree(base, tmp_path / "ml")
    spoil(tmp_path / "ml" / "model")
    ended = run(tmp_path / "ml", SAGEMAKER_BIND_TO_PORT=str(free_port))
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_named(base: Path) -> None:
    """The line says which port, and what to set."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run(base, SAGEMAKER_BIND_TO_PORT=str(port))
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "SAGEMAKER_BIND_TO_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("SAGEMAKER_BIND_TO_PORT", "http"), ("SCONES_SERVE_WORKERS", "0"), ("SCONES_SERVE_BODY_SECONDS", "inf")],
)
def test_an_impossible_variable_is_named(base: Path, name: str, value: str) -> None:
    """The line says which variable, its value and what it must be."""
    ended = run(base, **{name: value})
    assert ended.returncode == 1
    assert f"{name}={value!r}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_that_is_no_onnx_never_serves(tmp_path: Path, free_port: int) -> None:
    """Sound checksums round something that ONNX Runtime cannot use end in a clear line too."""
    folder = tmp_path / "ml" / "model"
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(b"not a graph")
    (folder / BASELINE).write_bytes(b"")
    write_model_file(folder, ModelDescription(("a", "b"), 32, 1.0, "x", {}, "2026-01-01", 0), "card")
    ended = run(tmp_path / "ml", SAGEMAKER_BIND_TO_PORT=str(free_port))
    assert ended.returncode == 1
    assert "it is no ONNX model" in ended.stderr
    assert "Traceback" not in ended.stderr

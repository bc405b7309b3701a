"""Registration: turn a foreign ONNX model into a model file, in a program of its own with limited memory and time.

This starts the program, `registration_job`, and loads nothing that it needs. The program's folder has the layout of a
training job: photos below `input/data/`, the model and its options below `input/config/`, the result in `model/`.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from scones.domain.errors import ModelError
from scones.domain.text import printable

MODEL_FILE: Final = "model.onnx"
OPTIONS_FILE: Final = "registration.json"
MAX_MODEL_BYTES: Final = 400_000_000
"""Larger files are not read; EfficientNet-Lite4 has 50 MB."""
MAX_MEMORY_GB: Final = 4
"""As much more than the program itself takes; the endpoint's server has the same limit."""
_SILENCE_SECONDS: Final = 300.0
"""The program ends if it prints nothing for so long: a single operator cannot be interrupted from within."""
_MAX_REASON: Final = 1024


class CannotRegister(ModelError):
    """The ONNX file is no photo classifier that can be served; the message says why and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"the model cannot be registered: {reason}; {advice}")


class RegistrationOptions(msgspec.Struct, frozen=True):
    """The classes, in the order of the outputs, and what is known of preprocessing and output."""

    classes: tuple[str, ...]
    data_version: str
    preprocess: str = ""
    output: str = ""
    seed: int = 0


def check_file(model: Path) -> None:
    """Look at the file before anything else is done.

    Raises:
        CannotRegister: it is no file that can be read, or too large.
    """
    try:
        if not model.is_file():
            raise CannotRegister(f"{str(model)!r} is not a file", "name an ONNX file")
        if (size := model.stat().st_size) > MAX_MODEL_BYTES:
            reason = f"{model.name!r} has {size:,} bytes, more than {MAX_MODEL_BYTES:,}"
            raise CannotRegister(reason, "quantize it, or take a smaller network")
        with model.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise CannotRegister(f"{str(model)!r} cannot be read ({error})", "name a file that can") from error


def write_job(folder: Path, model: Path, options: RegistrationOptions) -> None:
    """Write the program's input, apart from the photos, into its *folder*; raises as `check_file` does."""
    check_file(model)
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    (config / MODEL_FILE).write_bytes(model.read_bytes())
    (config / OPTIONS_FILE).write_bytes(msgspec.json.encode(options))


def run_job(folder: Path, report: Callable[[str], None], silence_seconds: float = _SILENCE_SECONDS) -> None:
    """Run the program on the job in *folder*; *report* hears each of its lines.

    It gets no variable of this process's environment, which may hold keys of an account.

    Raises:
        CannotRegister: it refused the model, was ended, or died.
    """
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)}
    with (
        (folder / "errors").open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "scones.training.registration_job", str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
            errors="replace",
        ) as process,
    ):
        silent = threading.Event()
        try:
            for line in _lines(process, silent, silence_seconds):
                report(line)
        finally:
            process.kill()
    if process.returncode and not silent.is_set() and (folder / "output" / "failure").exists():
        raise _Refused((folder / "output" / "failure").read_text("utf-8").strip())
    if silent.is_set():
        reason = f"it computed for {silence_seconds:.0f} s without an end"
        raise CannotRegister(reason, "run it in ONNX Runtime yourself, and take a smaller network")
    if process.returncode:
        last = printable((folder / "errors").read_bytes()[-_MAX_REASON:].decode("utf-8", "replace").strip())
        reason = (
            f"reading it ended with status {process.returncode} ({last.splitlines()[-1] if last else 'no message'})"
        )
        raise CannotRegister(reason, f"it may need more than {MAX_MEMORY_GB} GB of memory; take a smaller network")


class _Refused(CannotRegister):
    """What the program says of the model, as it says it."""

    def __init__(self, line: str) -> None:
        ModelError.__init__(self, printable(line))


def _lines(process: "subprocess.Popen[str]", silent: threading.Event, seconds: float) -> Iterator[str]:
    """Yield the program's lines; it is killed if none comes for so many *seconds*."""

    def end() -> None:
        silent.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        for line in process.stdout or ():
            timer.cancel()
            yield line.rstrip("\n")
            timer = threading.Timer(seconds, end)
            timer.start()
        process.wait()
    finally:
        timer.cancel()

"""The training program, run as SageMaker runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
from PIL import Image

from scones.data.decode import decode
from scones.data.sources.synthetic import render
from scones.model.model_file import read_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.monitoring.drift.baseline import Baseline

Start = Callable[..., "subprocess.Popen[str]"]


def give(job: Path, count: int, size: int = 32) -> None:
    """Fill the job's channel with rendered pictures."""
    for label in ("bicycle", "motorcycle"):
        folder = job / "input" / "data" / "training" / label
        folder.mkdir(parents=True)
        for number in range(count):
            render(label, "train", number).resize((size, size)).save(folder / f"{number}.png")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the program on the job in tmp_path."""

    def run(**hyperparameters: str) -> "subprocess.Popen[str]":
        config = tmp_path / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "scones.training"],
            env=dict(os.environ, SAGEMAKER_BASE_DIR=str(tmp_path)),  # noqa: TID251 - the environment is the contract
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.mark.slow
def test_photos_become_a_model_file(start: Start, tmp_path: Path) -> None:
    """A complete model file; epochs on stdout in lines that metric definitions can read; nothing on stderr."""
    give(tmp_path, 40)
    (tmp_path / "input" / "data" / "training" / "bicycle" / "notes.txt").write_text("not a photo")
    with start(classes="bicycle,motorcycle", epochs="1", seed="1", data_version="v1") as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    model_file = read_model_file(tmp_path / "model")
    assert (model_file.classes, model_file.image_size, model_file.data_version) == (("bicycle", "motorcycle"), 32, "v1")
    losses = re.findall(r"^epoch=(\d)/1 train_loss=([\d.]+) train_accuracy=([\d.]+) seconds=[\d.]+", out, re.MULTILINE)
    assert [number for number, _, _ in losses] == ["1"]
    assert f"oof_accuracy={model_file.metrics['oof_accuracy']:.4f}" in out
    assert "left_out='bicycle/notes.txt'" in out
    assert "progress=1.000" in out
    baseline = Baseline.load(model_file.baseline_path)
    assert (len(baseline.values), baseline.data_version) == (80, "v1")
    assert np.isfinite(baseline.values).all()
    assert baseline.calibration is not None
    assert baseline.simulated_damage is not None
    assert baseline.simulated_damage.clean.right.mean() == pytest.approx(model_file.metrics["oof_accuracy"])
    assert {len(damaged.right) for damaged in baseline.simulated_damage.damaged.values()} == {80}
    assert model_file.out_of_fold_path is not None
    known = OutOfFoldPredictions.load(model_file.out_of_fold_path)
    assert (len(known.names), known.names[0], known.labels[0]) == (80, "bicycle/0.png", "bicycle")
    assert known.scored().right.mean() == model_file.metrics["oof_accuracy"]
    photo = (tmp_path / "input" / "data" / "training" / "bicycle" / "0.png").read_bytes()
    assert known.learnt_from(decode(photo, 32)[None]).all()
    session = onnxruntime.InferenceSession(model_file.model_path)
    probabilities, unfamiliarity = session.run(None, {"photos": decode(photo, 32)[None]})
    assert np.allclose(probabilities.sum(), 1)
    assert np.isfinite(unfamiliarity).all()
    assert model_file.unfamiliar_above is not None
    assert model_file.metrics["oof_refused"] <= 0.02
    assert (tmp_path / "model" / "model-int8.onnx").stat().st_size < model_file.exact_path.stat().st_size
    assert not (tmp_path / "output" / "failure").exists()


@pytest.mark.slow
def test_the_same_job_gives_the_same_model(start: Start, tmp_path: Path) -> None:
    """To the last byte, whichever process finishes first."""
    give(tmp_path, 20)
    models = []
    for _ in range(2):
        with start(epochs="2", seed="5") as process:
            assert process.wait() == 0
        models.append((tmp_path / "model" / "model.onnx").read_bytes())
    assert models[0] == models[1]


@pytest.mark.slow
def test_a_stopped_job_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    """Stopped by SIGTERM and started again, as on Spot: fewer epochs, and the same model to the last byte."""
    give(tmp_path, 30)
    with start(epochs="6") as process:
        whole, _ = process.communicate()
    model = (tmp_path / "model" / "model.onnx").read_bytes()
    shutil.rmtree(tmp_path / "checkpoints")
    with start(epochs="6") as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "epoch=3/6" in line)
        process.send_signal(signal.SIGTERM)
    with start(epochs="6") as process:
        rest, _ = process.communicate()
    assert process.returncode == 0
    assert rest.count("epoch=") < whole.count("epoch=")
    assert "progress=1.000" in rest
    assert (tmp_path / "model" / "model.onnx").read_bytes() == model


@pytest.mark.slow
def test_photos_of_other_things_teach_the_guard(start: Start, tmp_path: Path) -> None:
    """Given as a channel of their own, they are counted, and the share of them that passes is told."""
    give(tmp_path, 40)
    folder = tmp_path / "input" / "data" / "outliers" / "chequers"
    folder.mkdir(parents=True)
    for number in range(20):
        squares = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.full((4, 4), 12 * number)).astype(np.uint8)
        Image.fromarray(squares).save(folder / f"{number}.png")
    with start(epochs="3") as process:
        out, _ = process.communicate()
    assert "outliers=20" in out
    assert 0 <= read_model_file(tmp_path / "model").metrics["oof_outliers_accepted"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 96])
def test_larger_photos_train_too(start: Start, tmp_path: Path, size: int) -> None:
    """The model file says which size it wants."""
    give(tmp_path, 20, size)
    with start(epochs="2", image_size=str(size)) as process:
        assert process.wait() == 0
    assert read_model_file(tmp_path / "model").image_size == size


def test_bad_input_leaves_a_reason(start: Start, tmp_path: Path) -> None:
    """Status 1, one line in output/failure, the same on stderr, and no model."""
    with start(classes="bicycle,motorcycle") as process:
        _, err = process.communicate()
    assert process.returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == "there is no input channel 'training' with one folder of photos a class\n"
    assert err == f"error: {reason}"
    assert not (tmp_path / "model").exists()


def first_epoch(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Wait until the training processes are at work, and name all that the program started."""
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch=" in line:
            return psutil.Process(process.pid).children(recursive=True)
    raise AssertionError("no epoch was reported")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_training_leaves_no_process(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """Asked, interrupted or killed: soon neither it nor a process of its own is there."""
    give(tmp_path, 30)
    with start(epochs="1000") as process:
        children = first_epoch(process)
        assert len(children) >= 2
        process.send_signal(number)
        _, gone_wrong = process.communicate()
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
    assert "Traceback" not in gone_wrong
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "output" / "failure").exists()


@pytest.mark.slow
def test_a_killed_worker_fails_the_job(start: Start, tmp_path: Path) -> None:
    """As when memory runs out: status 1 and a reason, instead of waiting for ever."""
    give(tmp_path, 30)
    with start(epochs="1000") as process:
        workers = [child for child in first_epoch(process) if "spawn_main" in " ".join(child.cmdline())]
        workers[0].kill()
        process.communicate()
    assert process.returncode == 1
    assert "a training process ended early" in (tmp_path / "output" / "failure").read_text()

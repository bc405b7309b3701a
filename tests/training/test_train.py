"""The training program, run as SageMaker runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
from PIL import Image

from scones.data.decode import decode
from scones.data.sources.synthetic import render
from scones.model.inference import Model
from scones.model.model_file import ModelFile, read_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import CONTENT_FEATURES, FEATURES

Start = Callable[..., "subprocess.Popen[str]"]


def give(job: Path, count: int, size: int = 32) -> None:
    """Fill the job's channel with rendered pictures."""
    for label in ("bicycle", "motorcycle"):
        folder = job / "input" / "data" / "training" / label
        folder.mkdir(parents=True)
        for number in range(count):
            render(label, "train", number).resize((size, size)).save(folder / f"{number}.png")


def read(job: Path) -> Mapping[str, bytes]:
    """The files of the model that was trained, but for those that name the time of it."""
    dated = {"model.json", "SHA256SUMS", "MODEL_CARD.md"}
    return {path.name: path.read_bytes() for path in (job / "model").iterdir() if path.name not in dated}


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


def check_content(model_file: ModelFile, baseline: Baseline, photo: np.ndarray) -> None:
    """The served model's features of the first training *photo* give the content that training measured."""
    model = Model(model_file)
    again, features = model.measure(photo[None])
    assert (again == model.answer(photo[None])).all()
    assert features is not None
    assert baseline.content is not None
    first = FEATURES.index(CONTENT_FEATURES[0])
    of_training = baseline.values[:1, first : first + len(CONTENT_FEATURES)]
    assert baseline.content.measure(features) == pytest.approx(of_training, abs=0.05)


def test_photos_become_a_model_file(start: Start, tmp_path: Path) -> None:
    """A complete model file; progress on stdout; nothing on stderr, nor of what would resume it."""
    give(tmp_path, 30)
    (tmp_path / "input" / "data" / "training" / "bicycle" / "notes.txt").write_text("not a photo")
    with start(classes="bicycle,motorcycle", image_size="64", seed="1", data_version="v1") as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    model_file = read_model_file(tmp_path / "model")
    assert (model_file.classes, model_file.image_size, model_file.data_version) == (("bicycle", "motorcycle"), 64, "v1")
    assert (model_file.photo_size, model_file.backbone) == (32, "lite0")
    assert f"oof_accuracy={model_file.metrics['oof_accuracy']:.4f}" in out
    assert "left_out='bicycle/notes.txt'" in out
    shares = [float(line.split("progress=")[1].split()[0]) for line in out.splitlines() if "progress=" in line]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    baseline = Baseline.load(model_file.baseline_path)
    assert (len(baseline.values), baseline.data_version) == (60, "v1")
    assert np.isfinite(baseline.values).all()
    assert baseline.calibration is not None
    assert baseline.simulated_damage is not None
    assert baseline.simulated_damage.clean.right.mean() == pytest.approx(model_file.metrics["oof_accuracy"])
    assert {len(damaged.right) for damaged in baseline.simulated_damage.damaged.values()} == {60}
    assert model_file.out_of_fold_path is not None
    known = OutOfFoldPredictions.load(model_file.out_of_fold_path)
    assert (len(known.names), known.names[0], known.labels[0]) == (60, "bicycle/0.png", "bicycle")
    assert known.scored().right.mean() == model_file.metrics["oof_accuracy"]
    photo = (tmp_path / "input" / "data" / "training" / "bicycle" / "0.png").read_bytes()
    assert known.learnt_from(decode(photo, 32)[None]).all()
    answer = Model(model_file).answer(decode(photo, 64)[None])
    assert np.allclose(answer[:, :2].sum(), 1)
    assert np.isfinite(answer).all()
    check_content(model_file, baseline, decode(photo, 64))
    session = onnxruntime.InferenceSession(model_file.model_path)
    (nearest,) = session.run(["nearest"], {"photos": decode(photo, 64)[None]})
    assert known.reference is not None
    assert known.names[known.reference[nearest[0, 0]]] == "bicycle/0.png"
    assert model_file.metrics["oof_refused"] <= 0.02
    (mark,) = (tmp_path / "checkpoints").iterdir()
    assert mark.read_text() == f"{model_file.version}\n"
    assert not (tmp_path / "output" / "failure").exists()


@pytest.mark.slow
def test_the_same_job_gives_the_same_model(start: Start, tmp_path: Path) -> None:
    """To the last byte, whichever thread finishes first; another seed gives another."""
    give(tmp_path, 20)
    models = []
    for seed in ("5", "5", "6"):
        with start(image_size="64", seed=seed) as process:
            assert process.wait() == 0
        models.append(read(tmp_path))
    assert models[0] == models[1]
    assert models[0]["model.onnx"] != models[2]["model.onnx"]


@pytest.mark.slow
def test_a_stopped_job_resumes_where_it_was(start: Start, tmp_path: Path) -> None:
    """Stopped by SIGTERM and started again, as on Spot: features are kept, and the model is the same."""
    give(tmp_path, 120)
    with start(image_size="64") as process:
        process.communicate()
    whole = read(tmp_path)
    with start(image_size="64") as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "progress=0.3" in line)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").glob("*.npy")}
    assert kept
    shutil.rmtree(tmp_path / "model")
    with start(image_size="64") as process:
        process.communicate()
    assert process.returncode == 0
    assert read(tmp_path) == whole


@pytest.mark.slow
def test_photos_of_other_things_teach_the_ood_detector(start: Start, tmp_path: Path) -> None:
    """Given as a channel of their own, they are counted, and the share of them that is accepted is told."""
    give(tmp_path, 40)
    folder = tmp_path / "input" / "data" / "outliers" / "chequers"
    folder.mkdir(parents=True)
    for number in range(20):
        squares = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.full((4, 4), 12 * number)).astype(np.uint8)
        Image.fromarray(squares).save(folder / f"{number}.png")
    with start(image_size="64") as process:
        out, _ = process.communicate()
    assert "outliers=20" in out
    assert read_model_file(tmp_path / "model").metrics["oof_outliers_accepted"] < 0.5


@pytest.mark.slow
def test_sources_are_left_out_in_turn(start: Start, tmp_path: Path) -> None:
    """The folder below a class's names the source; accuracy on left-out sources is a metric and on the card."""
    give(tmp_path, 30)
    for path in (tmp_path / "input" / "data" / "training").glob("*/*.png"):
        target = path.parent / ("studio" if int(path.stem) % 2 else "street") / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    with start(image_size="64") as process:
        out, _ = process.communicate()
    model_file = read_model_file(tmp_path / "model")
    assert "sources=2" in out
    known = OutOfFoldPredictions.kept(model_file)
    assert known is not None
    assert known.sources is not None
    assert set(known.sources) == {"studio", "street"}
    assert known.new_source is not None
    right = [known.classes[row] == label for row, label in zip(known.new_source.argmax(1), known.labels, strict=True)]
    assert model_file.metrics["new_source_accuracy"] == np.mean(right) > 0.5
    assert "new_source_accuracy" in (tmp_path / "model" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_classes_of_five_photos_and_many_classes_train(start: Start, tmp_path: Path) -> None:
    """Twelve classes of plain colors."""
    for number in range(12):
        folder = tmp_path / "input" / "data" / "training" / f"class {number:02}"
        folder.mkdir(parents=True)
        for photo in range(5):
            color = tuple(int(80 * (number // 3**place % 3) + 5 * photo) for place in range(3))
            Image.new("RGB", (40, 30), color).save(folder / f"{photo}.png")
    with start(image_size="64") as process:
        assert process.wait() == 0
    model_file = read_model_file(tmp_path / "model")
    assert len(model_file.classes) == 12
    assert model_file.metrics["oof_accuracy"] > 0.5


def test_bad_input_leaves_a_reason(start: Start, tmp_path: Path) -> None:
    """Status 1, one line in output/failure, the same on stderr, and no model."""
    with start(classes="bicycle,motorcycle") as process:
        _, err = process.communicate()
    assert process.returncode == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason == "there is no input channel 'training' with one folder of photos a class\n"
    assert err == f"error: {reason}"
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_training_leaves_no_process(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """Asked, interrupted or killed: soon neither it nor a process of its own is there."""
    give(tmp_path, 100)
    with start(image_size="320") as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "progress=" in line)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, gone_wrong = process.communicate()
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
    assert "Traceback" not in gone_wrong
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "output" / "failure").exists()

"""Jobs of the built-in algorithm: hyperparameters, channels and .lst files as AWS documents them, and a whole job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scones.data.decode import decode
from scones.data.sources.synthetic import render
from scones.model.inference import Model
from scones.model.model_file import read_model_file
from scones.training.image_classification import CHANNELS, read_hyperparameters, read_lst, train_image_classification
from scones.training.sagemaker_entrypoint import InvalidTrainingJob, TrainingJob

NEEDED = {"num_classes": "2", "num_training_samples": "24", "image_shape": "3,32,32", "mini_batch_size": "16"}
IMAGES = {name: {"ContentType": "application/x-image", "TrainingInputMode": "File"} for name in CHANNELS}
ROWS = [(0, "bicycle"), (1, "motorcycle")]


def a_job(folder: Path, ends: str = "\n", label: str = "{}", /, **hyperparameters: str) -> TrainingJob:
    """A job with twelve drawings of each class in `train`, and six in `validation`."""
    data, config = folder / "input" / "data", folder / "input" / "config"
    config.mkdir(parents=True)
    for channel, number in (("train", 12), ("validation", 6)):
        (data / channel).mkdir(parents=True)
        (data / f"{channel}_lst").mkdir()
        lines = []
        for index in range(2 * number):
            row, name = ROWS[index % 2][0], f"{ROWS[index % 2][1]}_s_{index:06d}.png"
            render(ROWS[row][1], "train" if channel == "train" else "test", index).resize((32, 32)).save(
                data / channel / name
            )
            lines.append(f"{index}\t{label.format(row)}\t{name}{ends}")
        (data / f"{channel}_lst" / f"{channel}.lst").write_bytes("".join(lines).encode())
    (config / "hyperparameters.json").write_text(json.dumps({**NEEDED, **hyperparameters}))
    (config / "inputdataconfig.json").write_text(json.dumps(IMAGES))
    return TrainingJob(folder)


@pytest.mark.slow
def test_a_job_of_the_course_trains(tmp_path: Path) -> None:
    """Windows' line ends, labels as floats, an unreadable photo: the log has the accuracies of the trained model."""
    job = a_job(tmp_path, "\r\n", "{}.000000", learning_rate="0.01", augmentation_type="crop")
    (tmp_path / "input/data/train/bicycle_s_000000.png").write_bytes(b"not a photo")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "scones.training", "image-classification"],
        env=dict(os.environ, SAGEMAKER_BASE_DIR=str(tmp_path)),  # noqa: TID251 - the environment is the contract
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.rpartition("=")[0] for line in lines[-2:]] == [
        "Epoch[0] Train-accuracy",
        "Epoch[0] Validation-accuracy",
    ]
    train, validation = (float(line.rpartition("=")[2]) for line in lines[-2:])
    assert train >= 0.9
    assert [line.split(" ")[1] for line in lines[:2]] == ["learning_rate=0.01", "augmentation_type=crop"]
    assert "left_out='bicycle_s_000000.png'" in done.stdout
    model_file = read_model_file(job.model)
    assert model_file.classes == ("0", "1")
    model = Model(model_file)
    assert model.size == 160
    photos = sorted((tmp_path / "input/data/validation").iterdir())
    answers = model.predict(np.stack([decode(photo.read_bytes(), model.size) for photo in photos])).argmax(axis=1)
    right = [ROWS[answer][1] in photo.name for answer, photo in zip(answers, photos, strict=True)]
    assert validation == pytest.approx(sum(right) / len(right), abs=1e-6)


GOOD = {
    "all that the course sets": {},
    "a shape with spaces": {"image_shape": "3, 32, 32"},
    "gray photos": {"image_shape": "1,32,32"},
    "an augmentation": {"augmentation_type": "crop_color_transform"},
    "an optimizer": {"optimizer": "adam", "beta_1": "0.9", "beta_2": "0.999", "eps": "1e-8", "learning_rate": "0.1"},
    "a schedule": {"lr_scheduler_step": "10, 20", "lr_scheduler_factor": "0.1", "epochs": "30"},
    "early stopping": {"early_stopping": "True", "early_stopping_patience": "5", "early_stopping_tolerance": "0.0"},
    "transfer learning": {"use_pretrained_model": "1", "num_layers": "18", "top_k": "2"},
    "several machines": {"kv_store": "dist_sync", "precision_dtype": "float16"},
    "a tuning job's": {"_tuning_objective_metric": "validation:accuracy"},
    "a single label": {"multi_label": "0"},
    "checkpoints": {"checkpoint_frequency": "30"},
}


@pytest.mark.parametrize("more", GOOD.values(), ids=GOOD)
def test_every_documented_hyperparameter_is_accepted(more: dict[str, str]) -> None:
    """Those without a meaning here are each named in a line of the log."""
    found = read_hyperparameters({**NEEDED, **more})
    assert (found.classes, found.samples, found.height, found.width) == (2, 24, 32, 32)
    used = {*NEEDED, "multi_label"}
    assert [line.split("=")[0] for line in found.without_meaning] == [
        f"hyperparameter {name}" for name in more if name not in used
    ]


WRONG = {
    "no number of classes": ({"num_classes": ""}, "num_classes"),
    "one class": ({"num_classes": "1"}, "two or more"),
    "a negative number": ({"num_classes": "-2"}, "num_classes"),
    "a fraction": ({"num_classes": "2.5"}, "whole number"),
    "digits of another script": ({"num_classes": "\u0662"}, "whole number"),
    "no samples": ({"num_training_samples": "0"}, "at least 1"),
    "a shape without channels": ({"image_shape": "32,32"}, "image_shape"),
    "a shape as JSON": ({"image_shape": "[3, 32, 32]"}, "image_shape"),
    "four channels": ({"image_shape": "4,32,32"}, "image_shape"),
    "a rate above one": ({"learning_rate": "1.5"}, "between 0 and 1"),
    "a rate that is no number": ({"learning_rate": "nan"}, "between 0 and 1"),
    "an unknown optimizer": ({"optimizer": "adamw"}, "sgd, adam"),
    "an unknown augmentation": ({"augmentation_type": "flip"}, "crop_color"),
    "other layers": ({"num_layers": "19"}, "num_layers"),
    "a top of one": ({"top_k": "1"}, "at least 2"),
    "checkpoints after the end": ({"checkpoint_frequency": "31"}, "epochs, which is 30"),
    "several labels": ({"multi_label": "1"}, "not supported"),
    "an unknown name": ({"epoch": "3"}, "unknown hyperparameter 'epoch'"),
    "another algorithm's": ({"num_round": "3"}, "unknown hyperparameter 'num_round'"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_hyperparameter_is_refused_by_name(change: dict[str, str], words: str) -> None:
    """The message says which, and what it must be."""
    with pytest.raises(InvalidTrainingJob, match=words):
        read_hyperparameters({**NEEDED, **change})


@pytest.mark.parametrize("name", ["num_classes", "num_training_samples"])
def test_a_required_hyperparameter_must_be_there(name: str) -> None:
    """As with AWS's algorithm."""
    with pytest.raises(InvalidTrainingJob, match=f"{name} is required"):
        read_hyperparameters({key: value for key, value in NEEDED.items() if key != name})


LST = {
    "as documented": b"5\t1\ta.png\n7\t0\tdeep/b.png\n",
    "Windows' line ends": b"5\t1\ta.png\r\n7\t0\tdeep/b.png\r\n",
    "labels as floats": b"5\t1.000000\ta.png\n7\t0.0\tdeep/b.png\n",
    "no last line end": b"5\t1\ta.png\n7\t0\tdeep/b.png",
    "blank lines": b"\n5\t1\ta.png\n\n7\t0\tdeep/b.png\n\n",
    "a byte order mark": b"\xef\xbb\xbf5\t1\ta.png\n7\t0\tdeep/b.png\n",
    "spaces around cells": b"5 \t1 \ta.png \n7\t 0\t deep/b.png\n",
    "a path that begins with ./": b"5\t1\t./a.png\n7\t0\t./deep/b.png\n",
}


def lst_job(folder: Path, content: bytes, name: str = "train.lst") -> TrainingJob:
    """A job whose channel `train` has two files, and whose .lst file has this content."""
    data = folder / "input" / "data"
    (data / "train" / "deep").mkdir(parents=True)
    (data / "train_lst").mkdir()
    for photo in ("train/a.png", "train/deep/b.png", "outside.png", f"train_lst/{name}"):
        (data / photo).write_bytes(content)
    return TrainingJob(folder)


@pytest.mark.parametrize("content", LST.values(), ids=LST)
def test_every_form_of_an_lst_file_is_read(tmp_path: Path, content: bytes) -> None:
    """Row, label and path, separated by tabs."""
    rows = read_lst(lst_job(tmp_path, content), "train", 2)
    assert [(row.photo.name, row.label) for row in rows] == [("a.png", 1), ("b.png", 0)]


BAD_LST = {
    "commas": (b"5,1,a.png\n", "line 1: 1 columns"),
    "two labels": (b"5\t1\t0\ta.png\n", "line 1: 4 columns"),
    "a label by name": (b"5\tbicycle\ta.png\n", "'bicycle' is not a whole number from 0 to 1"),
    "a label too high": (b"5\t1\ta.png\n6\t2\ta.png\n", "line 2: label '2'"),
    "a label of the raw dataset": (b"5\t48\ta.png\n", "label '48'"),
    "a negative label": (b"5\t-1\ta.png\n", "label '-1'"),
    "half a label": (b"5\t0.5\ta.png\n", "label '0.5'"),
    "no label": (b"5\t\ta.png\n", "label ''"),
    "an endless label": (b"5\tinf\ta.png\n", "label 'inf'"),
    "a photo that is not there": (b"5\t1\tc.png\n", "no file 'c.png' in the channel train"),
    "a photo outside of the channel": (b"5\t1\t../outside.png\n", r"no file '\.\./outside.png'"),
    "an absolute path": (b"5\t1\t/etc/hostname\n", "no file '/etc/hostname'"),
    "a folder": (b"5\t1\tdeep\n", "no file 'deep'"),
    "a path with a zero byte": (b"5\t1\ta\0.png\n", "no file"),
    "no rows": (b"\r\n", "no rows"),
    "a binary file": (b"\xff\xfe\x00\x01\n", "columns"),
}


@pytest.mark.parametrize(("content", "words"), BAD_LST.values(), ids=BAD_LST)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    """The first one that is wrong."""
    with pytest.raises(InvalidTrainingJob, match=words):
        read_lst(lst_job(tmp_path, content), "train", 2)


@pytest.mark.parametrize("name", ["train.csv", "train.rec"])
def test_another_file_than_an_lst_file_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the channel and what it must hold."""
    with pytest.raises(InvalidTrainingJob, match=r"train_lst must hold one file \*\.lst"):
        read_lst(lst_job(tmp_path, b"5\t1\ta.png\n", name), "train", 2)


def without(name: str) -> dict[str, dict[str, str]]:
    """The channels but for one."""
    return {key: value for key, value in IMAGES.items() if key != name}


JOBS = {
    "a channel missing": (without("validation_lst"), {}, "'validation_lst' is missing"),
    "a channel of ours": ({**IMAGES, "training": IMAGES["train"]}, {}, "'training' is unknown"),
    "no content type": ({**IMAGES, "train": {"ContentType": ""}}, {}, "channel train: ContentType is ''"),
    "a content type of text": ({**IMAGES, "train_lst": {"ContentType": "text/csv"}}, {}, "ContentType is 'text/csv'"),
    "photos below the shape": (IMAGES, {"image_shape": "3,64,64"}, "32 x 32 pixels and is smaller than image_shape"),
    "the default shape": (IMAGES, {"image_shape": "3,224,224"}, "smaller than image_shape 224 x 224"),
    "still below it": (IMAGES, {"image_shape": "3,64,64", "resize": "48"}, "also after resize = 48"),
    "a batch of more": (IMAGES, {"mini_batch_size": "25"}, "bigger or equal to the mini_batch_size: 24 photos"),
    "a class without photos": (IMAGES, {"num_classes": "3"}, "class 2 has 0 training photos"),
}


@pytest.mark.parametrize(("channels", "hyperparameters", "words"), JOBS.values(), ids=JOBS)
def test_a_job_that_the_algorithm_refuses_is_refused_before_training(
    tmp_path: Path, channels: dict[str, dict[str, str]], hyperparameters: dict[str, str], words: str
) -> None:
    """The message says which channel, photo or hyperparameter."""
    job = a_job(tmp_path, **hyperparameters)
    (tmp_path / "input/config/inputdataconfig.json").write_text(json.dumps(channels))
    with pytest.raises(InvalidTrainingJob, match=words):
        train_image_classification(job)
    assert not (job.model / "model.onnx").exists()


def test_wrong_input_is_the_clients_fault(tmp_path: Path) -> None:
    """Exit code 2, as AWS's algorithms end, and the reason in the failure file."""
    a_job(tmp_path, num_classes="none")
    done = subprocess.run(
        [sys.executable, "-m", "scones.training", "image-classification"],
        env=dict(os.environ, SAGEMAKER_BASE_DIR=str(tmp_path)),  # noqa: TID251 - the environment is the contract
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "num_classes = 'none' must be" in (tmp_path / "output" / "failure").read_text()

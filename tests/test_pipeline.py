"""The public methods of the pipeline: what they take for a path."""

import re
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pytest

from scones.cli.session import open_pipeline
from scones.pipeline import Pipeline
from scones.steps.evaluate import EvaluationOptions
from scones_local.cloud import Cloud, exports
from tiny_model import plain_photo, write_tiny_model_file


class OtherPath(PathLike[str]):
    """A path of another library."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        """The path as text."""
        return str(self._path)


KINDS: dict[str, Callable[[Path], Any]] = {"string": str, "Path": Path, "PathLike": OtherPath}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo, a folder of photos, a model and labels."""
    (tmp_path / "a.png").write_bytes(plain_photo(200))
    for label, first in (("bicycle", 20), ("motorcycle", 200)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for level in range(first, first + 12):
            (tmp_path / "photos" / label / f"{level}.png").write_bytes(plain_photo(level))
    write_tiny_model_file(tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_photos_may_be_named_by_any_kind_of_path(flow: Pipeline, folder: Path, kind: str) -> None:
    """One alone, or several in a list, a tuple or a generator."""
    photo = KINDS[kind](folder / "a.png")
    for photos in (photo, [photo], (photo, photo), (each for each in [photo])):
        assert {item.label for item in flow.classify(photos).executions} == {"motorcycle"}
    assert flow.classify_batch(KINDS[kind](folder / "photos")).counts["classified"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_s3_prefix_may_be_named_by_any_kind_of_path(flow: Pipeline, kind: str) -> None:
    """A Path of it has lost a slash."""
    key = flow.upload("a.png", plain_photo(200)).key
    assert flow.classify_batch(KINDS[kind](Path(flow.aws.bucket.uri(key)))).photos == 1
    assert flow.classify_batch(flow.aws.bucket.uri(key)).photos == 1


@pytest.mark.parametrize("kind", KINDS)
def test_pages_models_and_labels_may_be_named_by_any_kind_of_path(own_flow: Pipeline, folder: Path, kind: str) -> None:
    """Every other method that takes one."""
    path = KINDS[kind]
    flow = replace(own_flow, settings=replace(own_flow.settings, data=str(folder / "photos")))
    flow.stage(path(folder / "data.html"))
    executions = flow.classify().executions
    assert flow.rejudge(path(folder / "model"), None).photos
    options = EvaluationOptions(report=path(folder / "evaluation.html"), against=path(folder / "model"))
    assert flow.evaluate(options).metrics.accuracy == 1
    flow.monitor(at_least=len(executions))
    flow.to_label(path(folder / "label.csv"))
    labels = folder / "label.csv"
    labels.write_text(re.sub(r"(?m),$", ",bicycle", labels.read_text()))
    assert flow.label(path(labels)).labels == len(executions)
    assert {item.name for item in folder.glob("*.html")} == {"data.html", "evaluation.html"}


@pytest.mark.parametrize("kind", ["string", "Path"])
def test_the_source_of_a_session_may_be_a_path(
    cloud: Cloud, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As a string or as a Path; photos, state and cache."""
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name, value)
    given = {name: KINDS[kind](folder / name) for name in ("state", "cache")}
    settings = {"env": "paths", "data": KINDS[kind](folder / "photos"), **given}
    with open_pipeline("stage", settings, agreed=True) as flow:
        staged = flow.stage()
        assert staged.train + staged.test == 24
        flow.down()

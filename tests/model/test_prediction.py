"""Predictions without a cloud: a model file and photos, from Python and from the command line."""

import json
import os
from pathlib import Path

import pytest

import scones
from scones.cli import main
from scones.model.model_file import InvalidModelFile
from scones.model.prediction import PhotosUnusable
from tiny_model import plain_photo, probability, tar, write_tiny_model_file

CLASSES = {"bicycle", "motorcycle"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file as training writes it, packed."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model_file(folder / "model", guarded=True)
    (folder / "model.tar.gz").write_bytes(tar(folder / "model"))
    return folder


def photos(folder: Path, *levels: int) -> list[Path]:
    """Photos of one gray each."""
    found = [folder / f"{level}.png" for level in levels]
    for file, level in zip(found, levels, strict=True):
        file.write_bytes(plain_photo(level))
    return found


@pytest.mark.parametrize("form", ["model", "model.tar.gz"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_file_or_its_folder_predicts_photos(model: Path, tmp_path: Path, form: str, kind: type) -> None:
    """In the order given; the confidence is the model's own probability."""
    found = scones.predict(kind(model / form), [kind(file) for file in photos(tmp_path, 30, 220)])
    assert [Path(item.photo).name for item in found] == ["30.png", "220.png"]
    for item, level in zip(found, (30, 220), strict=True):
        assert item.probabilities
        assert set(item.probabilities) == CLASSES
        assert item.confidence == max(item.probabilities.values()) == item.probabilities[item.label]
        assert any(value == pytest.approx(probability(level), abs=1e-3) for value in item.probabilities.values())
        assert item.unfamiliarity is not None


def test_a_folder_means_its_files_and_more_than_a_batch_keeps_its_order(model: Path, tmp_path: Path) -> None:
    """Files that are no photos are part of the result, between the others."""
    named = photos(tmp_path, *range(100, 170))
    (tmp_path / "135.txt").write_text("no photo")
    found = scones.predict(model / "model", tmp_path)
    assert [item.photo for item in found] == sorted(map(str, [*named, tmp_path / "135.txt"]))
    assert [Path(item.photo).name for item in found if item.error] == ["135.txt"]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"", "is empty"), (b"GIF89a", "truncated"), (b"no photo", "not")]
)
def test_if_no_file_can_be_read_the_first_is_named_with_the_reason(
    model: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """Instead of an empty result."""
    file = tmp_path / "a.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PhotosUnusable, match=r"a\.png") as caught:
        scones.predict(model / "model", [file, file])
    assert reason in str(caught.value)
    assert "(and 1 other file)" in str(caught.value)


def test_without_photos_or_without_a_model_the_error_says_so(model: Path, tmp_path: Path) -> None:
    """An empty folder, and a model that is not there."""
    with pytest.raises(PhotosUnusable, match="no photos"):
        scones.predict(model / "model", tmp_path)
    with pytest.raises(InvalidModelFile, match="no such file"):
        scones.predict(tmp_path / "model.tar.gz", photos(tmp_path, 9))


def test_the_command_prints_each_photo_and_fails_if_some_cannot_be_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lines, and as JSON."""
    (good,) = photos(tmp_path, 30)
    bad = tmp_path / "b.png"
    bad.write_bytes(b"no photo")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(model / "model.tar.gz"), str(good), str(bad)])
    assert ended.value.code == 1
    lines, error = capsys.readouterr()
    assert [line.split(":")[0] for line in lines.splitlines()] == [str(good), str(bad)]
    assert "1 of 2 files could not be read" in error
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(model / "model"), str(good), "--json"])
    assert ended.value.code == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["label"] in CLASSES


def test_the_package_knows_its_version() -> None:
    """Of pyproject.toml, which a wheel is named after."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{scones.__version__}"' in text
    with pytest.raises(AttributeError, match="nothing_here"):
        scones.nothing_here  # noqa: B018


def test_what_is_no_photo_costs_no_other_its_prediction(model: Path, tmp_path: Path) -> None:
    """A pipe, whose reader would wait for ever, a folder's link that leads nowhere, and names that cannot exist."""
    (good,) = photos(tmp_path, 200)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone")
    wrong: list[str | Path] = [
        tmp_path / "pipe.png",
        tmp_path / "nowhere.png",
        tmp_path / ("a" * 300),
        "zero\0byte.png",
    ]
    found = scones.predict(model / "model", [*wrong, good])
    assert [bool(item.error) for item in found] == [True] * 4 + [False]


def test_a_model_that_is_not_there_is_asked_for_not_trained(tmp_path: Path) -> None:
    """The message says what to name."""
    with pytest.raises(InvalidModelFile, match=r"none\.tar\.gz .* no such file or folder; name a model\.tar\.gz, or"):
        scones.predict(tmp_path / "none.tar.gz", [tmp_path])

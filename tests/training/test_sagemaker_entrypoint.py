"""SageMaker's training contract: strings in, photos in, one line out when it fails."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from scones.data.dataset import Sample, to_lines
from scones.training.features import TrainingData
from scones.training.sagemaker_entrypoint import (
    InvalidTrainingJob,
    PhotoStore,
    TrainingJob,
    choose_evenly,
    failure_reported,
    read_hyperparameters,
    read_photos,
)


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """A job with four photos a class."""
    made = TrainingJob(tmp_path)
    for number, label in enumerate(("bicycle", "motorcycle")):
        folder = made.channel / label
        folder.mkdir(parents=True)
        for photo in range(4):
            Image.new("RGB", (40, 30), (10 * photo, 100 * number, 50)).save(folder / f"{photo}.png")
    return made


def tell(job: TrainingJob, **values: object) -> None:
    """Write the hyperparameters."""
    path = job.folder / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def test_strings_become_values(job: TrainingJob) -> None:
    """SageMaker passes nothing but strings."""
    tell(job, classes="motorcycle, bicycle", image_size="64", backbone="lite2", seed="3", data_version="abc")
    found = read_hyperparameters(job)
    assert found.classes == ("motorcycle", "bicycle")
    assert (found.image_size, found.backbone, found.seed, found.data_version) == (64, "lite2", 3, "abc")


def test_everything_has_a_default(job: TrainingJob) -> None:
    """Without a file the folders are the classes, and the photos decide on the size."""
    found = read_hyperparameters(job)
    assert (found.classes, found.image_size, found.backbone) == (("bicycle", "motorcycle"), 0, "lite0")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "3"}, "unknown hyperparameter 'epochs'; known are: classes, image_size, backbone"),
        ({"seed": "many"}, "seed = 'many' is not a whole number"),
        ({"backbone": "lite9"}, "backbone = 'lite9' is not one of: lite0, lite2"),
        ({"image_size": "4096"}, "image_size = 4096 must lie between 0 and 320"),
        ({"image_size": "50"}, "image_size = 50 must be a multiple of 32, or 0 to choose it"),
        ({"seed": "-1"}, "seed = -1 must lie"),
        ({"classes": "bicycle"}, "two or more different classes, not 'bicycle'"),
        ({"classes": "bicycle,bicycle"}, "two or more different classes"),
        ({"classes": "bicycle,van"}, "class 'van' has no folder in the input channel; folders there: bicycle, motorc"),
    ],
)
def test_what_cannot_be_used_is_named(job: TrainingJob, values: dict[str, str], message: str) -> None:
    """The name, the value, and what would do."""
    tell(job, **values)
    with pytest.raises(InvalidTrainingJob, match=message):
        read_hyperparameters(job)


def test_a_damaged_file_is_named(job: TrainingJob) -> None:
    """Half a JSON file is no reason for a traceback."""
    tell(job)
    (job.folder / "input" / "config" / "hyperparameters.json").write_text("{")
    with pytest.raises(InvalidTrainingJob, match=r"hyperparameters\.json is no JSON"):
        read_hyperparameters(job)


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    """Nothing was mounted."""
    with pytest.raises(InvalidTrainingJob, match="no input channel 'training'"):
        read_hyperparameters(TrainingJob(tmp_path))


def test_photos_come_in_the_order_of_classes(job: TrainingJob) -> None:
    """The class number is the place in the list of probabilities; small photos keep the size that most have."""
    tell(job, classes="motorcycle,bicycle", image_size="32")
    found = read_photos(job, read_hyperparameters(job), lambda _line: None)
    data = found.data
    assert found.names == tuple(f"{label}/{n}.png" for label in ("motorcycle", "bicycle") for n in range(4))
    assert data.photos.shape == (8, 30, 30, 3)
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(np.unique(data.photos[:4, ..., 1]), [100])


@pytest.mark.parametrize(
    ("side", "asked", "expected"),
    [
        (10, 0, (160, 16)),
        (32, 0, (160, 32)),
        (120, 0, (160, 120)),
        (192, 0, (224, 192)),
        (300, 0, (224, 224)),
        (300, 96, (96, 96)),
        (32, 96, (96, 32)),
    ],
)
def test_the_photos_decide_on_the_model_s_size(
    job: TrainingJob, side: int, asked: int, expected: tuple[int, int]
) -> None:
    """Small ones are enlarged to 160 pixels, ordinary ones seen at 224, unless another size is asked for."""
    for path in job.channel.glob("*/*.png"):
        Image.new("RGB", (side, 2 * side)).save(path)
    tell(job, image_size=str(asked))
    found = read_photos(job, read_hyperparameters(job), lambda _line: None)
    assert (found.image_size, found.data.photos.shape[1]) == expected


@pytest.mark.parametrize(("large", "expected"), [(1, (160, 32)), (2, (224, 224))])
def test_large_photos_are_not_made_small_by_small_ones_beside_them(
    job: TrainingJob, large: int, expected: tuple[int, int]
) -> None:
    """From a quarter of the photos on: small ones can be enlarged, and what large ones lose is lost."""
    for number, path in enumerate(sorted(job.channel.glob("*/*.png"))):
        Image.new("RGB", (300, 400) if number < large else (32, 32)).save(path)
    found = read_photos(job, read_hyperparameters(job), lambda _line: None)
    assert (found.image_size, found.data.photos.shape[1]) == expected


def test_a_photo_s_source_is_its_folder_below_the_class(job: TrainingJob) -> None:
    """The first one; none where it lies in the class's own folder."""
    deep = job.channel / "bicycle" / "studio" / "2026" / "x.png"
    deep.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(deep)
    tell(job)
    found = read_photos(job, read_hyperparameters(job), lambda _line: None)
    assert found.data.sources[found.names.index("bicycle/studio/2026/x.png")] == "studio"
    assert sorted(set(found.data.sources)) == ["", "studio"]


def test_a_photo_s_source_is_the_manifest_s(job: TrainingJob) -> None:
    """Whatever its folder is called; a photo that the manifest does not have comes from nowhere."""
    (job.channel / "bicycle" / "spelled").mkdir()
    for name in ("spelled/a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(job.channel / "bicycle" / name)
    named = {"bicycle/spelled/a.png": "", "bicycle/0.png": "phone", "motorcycle/1.png": "city"}
    samples = [Sample(f"data/v/train/{name}", name.split("/")[0], "train", "0", it) for name, it in named.items()]
    job.manifest.mkdir()
    (job.manifest / "train.jsonl").write_bytes(to_lines(samples, "train", ("bicycle", "motorcycle")))
    found = read_photos(job, read_hyperparameters(job), lambda _line: None)
    sources = dict(zip(found.names, found.data.sources, strict=True))
    assert {name: source for name, source in sources.items() if source or name in named} == named


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ((4, 4), 100, (4, 4)),
        ((1000, 10), 100, (90, 10)),
        ((1000, 1000, 7), 100, (46, 47, 7)),
        ((5,) * 64, 320, (5,) * 64),
        ((100_000,), 20_000, (20_000,)),
        ((0, 3), 100, (0, 3)),
    ],
)
def test_of_too_many_photos_as_many_of_each_class_are_chosen(
    sizes: tuple[int, ...], most: int, expected: tuple[int, ...]
) -> None:
    """Small classes whole, large ones evenly over their files, so that each source has its share."""
    files = [[Path(f"{number:06d}") for number in range(size)] for size in sizes]
    chosen = choose_evenly(files, most)
    assert tuple(map(len, chosen)) == expected
    for found, whole in zip(chosen, files, strict=True):
        assert len(set(found)) == len(found)
        if found and len(found) < len(whole):
            assert found[0] == whole[0]
            assert int(found[-1].name) >= len(whole) - 2 * len(whole) / len(found)


def test_a_job_says_how_many_photos_it_chose(job: TrainingJob) -> None:
    """And keeps to it; photos of other things are limited alike."""
    for number in range(4, 120):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(job.channel / "bicycle" / f"{number}.png")
    shutil.copytree(job.channel / "bicycle", job.outliers / "cars")
    tell(job, max_photos="100")
    heard: list[str] = []
    found = read_photos(job, read_hyperparameters(job), heard.append)
    assert heard == ["photos_of_channel=124 photos_chosen=100 max_photos=100"]
    assert np.bincount(found.data.labels).tolist() == [96, 4]
    assert len(found.data.outliers) == 100


def test_photos_that_do_not_fit_on_the_disk_are_refused_before_they_are_read() -> None:
    """With what they need, what there is, and what to do."""
    with pytest.raises(InvalidTrainingJob, match=r"need 150,528,000.0 GB of disk in .* set max_photos or image_size"):
        PhotoStore(10**12, 224)


def test_photos_in_the_store_take_no_memory(job: TrainingJob) -> None:
    """They lie in a file: what was read of it is given back part by part, and is there again when it is needed."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
    photo.save(job.channel / "bicycle" / "a.jpg")
    store, process = PhotoStore(600, 300), psutil.Process()
    before = process.memory_info().rss
    store.add(job.channel, [job.channel / "bicycle" / "a.jpg"] * 600, pytest.fail)
    data = TrainingData(store.photos, np.zeros(600, np.int64), 2, store.photos[:0], (), store.release)
    total = sum(int(data.photos[part].sum(dtype=np.int64)) for part in data.parts())
    assert total == 600 * int(data.photos[0].sum(dtype=np.int64))
    assert process.memory_info().rss - before < 80_000_000 < store.photos.nbytes


def test_an_unreadable_photo_is_reported_and_skipped(job: TrainingJob) -> None:
    """One bad file does not cost a training job."""
    (job.channel / "bicycle" / "été 1.png").write_text("no photo")
    heard: list[str] = []
    found = read_photos(job, read_hyperparameters(job), heard.append)
    assert len(found.names) == len(found.data.labels) == 8
    assert heard == ["left_out='bicycle/été 1.png' reason='is not a PNG, JPEG, WebP, GIF or BMP image'"]


def test_a_class_without_photos_is_an_error(job: TrainingJob) -> None:
    """It cannot be learnt."""
    for path in (job.channel / "motorcycle").iterdir():
        path.unlink()
    with pytest.raises(InvalidTrainingJob, match="class 'motorcycle' has 0 photos that can be read; training needs 3"):
        read_photos(job, read_hyperparameters(job), lambda _line: None)


def test_an_error_leaves_one_line(job: TrainingJob) -> None:
    """Our own errors as they are."""
    with pytest.raises(InvalidTrainingJob), failure_reported(job):
        raise InvalidTrainingJob("class 'van' is missing")
    assert job.failure.read_text() == "class 'van' is missing\n"


def test_a_bug_leaves_one_line_too(job: TrainingJob) -> None:
    """With its type, on one line, within SageMaker's 1,024 characters."""
    with pytest.raises(ZeroDivisionError), failure_reported(job):
        raise ZeroDivisionError("two\nlines " + "x" * 5000)
    text = job.failure.read_text()
    assert text.startswith("ZeroDivisionError: two lines xxx")
    assert len(text) == 1025
    assert text.count("\n") == 1


def test_success_leaves_no_failure(job: TrainingJob) -> None:
    """The file's existence is the message."""
    with failure_reported(job):
        Image.open(io.BytesIO((job.channel / "bicycle" / "0.png").read_bytes())).close()
    assert not job.failure.exists()

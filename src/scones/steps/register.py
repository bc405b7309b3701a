"""Register: make a model file of an ONNX model made elsewhere, with what the staged photos tell about it."""

import io
import re
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from scones.aws.connection import Aws
from scones.data.dataset import Sample
from scones.domain.naming import MODELS_PREFIX, outliers_prefix, split_prefix
from scones.domain.progress import Reporter
from scones.model.model_file import read_model_file
from scones.training.preprocessing import parse_preprocessing
from scones.training.registration import CannotRegister, RegistrationOptions, check_file, run_job, write_job

MAX_PHOTOS = 2000
"""Of more training photos, so many are used, as many of each class."""
MAX_OUTLIERS = 200
_PROGRESS = re.compile(r"progress=([01]\.\d+)")


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """An ONNX file, its classes in the order of its outputs, and what its graph does not tell."""

    path: Path
    classes: tuple[str, ...] = ()
    """Empty for those of the staged photos."""
    preprocess: str = ""
    output: str = ""
    seed: int = 0

    def check(self) -> None:
        """Look at what can be told before any photo is staged; raises CannotRegister."""
        check_file(self.path)
        parse_preprocessing(self.preprocess)

    def with_classes(self, staged: tuple[str, ...]) -> "ForeignModel":
        """Take the classes of the photos.

        Raises:
            CannotRegister: the model has others, or has them in another order.
        """
        if self.classes and self.classes != staged:
            raise CannotRegister(
                f"its classes are {', '.join(self.classes)}, and those of the photos {', '.join(staged)}",
                "name the photos with --photos, and each class, in the order of the outputs, with --classes",
            )
        return replace(self, classes=staged)


@dataclass(frozen=True, slots=True)
class ForeignModelFile:
    """The model file that was made, where it lies, and what was measured."""

    job: str
    model_uri: str
    metrics: dict[str, float]
    seconds: float


def register_foreign(
    aws: Aws, model: ForeignModel, version: str, samples: Sequence[Sample], report: Reporter
) -> ForeignModelFile:
    """Measure *model* on training photos of *samples*, of that data version, and put its model file into the bucket.

    The model runs in a program of its own, with limited time and memory and without any credentials.

    Raises:
        CannotRegister: the file is no photo classifier of these classes that can be served.
    """
    started = time.monotonic()
    options = RegistrationOptions(model.classes, version, model.preprocess, model.output, model.seed)
    with tempfile.TemporaryDirectory(prefix="scones-") as place:
        folder = Path(place)
        write_job(folder, model.path, options)
        _download(aws, folder, options, samples)

        def hear(line: str) -> None:
            if found := _PROGRESS.search(line):
                report.progress(int(100 * float(found[1])), 100, "percent measured")
            elif line.startswith("note="):
                report.tell(line.removeprefix("note="))

        run_job(folder, hear)
        made = read_model_file(folder / "model")
        job = f"{aws.prefix}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        uri = aws.bucket.put(f"{MODELS_PREFIX}{job}/output/model.tar.gz", _packed(folder / "model"))
        seconds = time.monotonic() - started
        report.tell(f"made model file {made.version} of {model.path.name} in {seconds:.0f} s")
        return ForeignModelFile(job, uri, dict(made.metrics) | {"temperature": made.temperature}, seconds)


def _download(aws: Aws, folder: Path, options: RegistrationOptions, samples: Sequence[Sample]) -> None:
    version = options.data_version
    keys = [sample.key for sample in _spread(samples, options.classes)]
    others = [item.key for item in aws.bucket.list(outliers_prefix(version))]
    others = others[:: -(-len(others) // MAX_OUTLIERS) or 1]
    for channel, prefix, wanted in (
        ("training", split_prefix(version, "train"), keys),
        ("outliers", outliers_prefix(version), others),
    ):
        for key, photo in zip(wanted, aws.bucket.get_all(wanted), strict=True):
            name = PurePosixPath(key.removeprefix(prefix))
            if name.is_absolute() or ".." in name.parts:
                raise CannotRegister(f"the staged photo {key!r} has no name of a file", "stage the photos again")
            path = folder.joinpath("input", "data", channel, *name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo)


def _spread(samples: Sequence[Sample], classes: Sequence[str]) -> Iterator[Sample]:
    """Choose training photos of each class, evenly."""
    for name in classes:
        found = [sample for sample in samples if sample.split == "train" and sample.label == name]
        yield from found[:: -(-len(found) * len(classes) // MAX_PHOTOS) or 1]


def _packed(folder: Path) -> bytes:
    """Pack a folder as SageMaker packs what a training job leaves."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return buffer.getvalue()

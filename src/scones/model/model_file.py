"""The model file: a folder that training writes and SageMaker packs as `model.tar.gz`; checksums, no pickle."""

import gzip
import hashlib
import io
import json
import math
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from scones.domain.decision import MAX_CLASSES, MAX_NAME_CHARACTERS
from scones.domain.errors import ModelError
from scones.domain.text import printable

MODEL: Final = "model.onnx"
"""Input `photos` uint8 [N, H, W, 3], output `probabilities` float32 [N, C]; everything between is in the graph.

A second output, `unfamiliarity` float32 [N], is the out-of-distribution score. Others explain an answer: `logits`
[N, C]; `evidence` [N, C, G, G], each place's share of the logits; `features` [N, F], of length 1; the rows of `nearest`
reference photos, int64 [N, K], and their cosine `similarity` [N, K]. A model from elsewhere may lack all but the first.
"""
BASELINE: Final = "baseline.npz"
"""The reference data of drift detection."""
OUT_OF_FOLD: Final = "out-of-fold.npz"
"""Cross-validated predictions for the training photos; optional."""
ABOUT: Final = "model.json"
CARD: Final = "MODEL_CARD.md"
SUMS: Final = "SHA256SUMS"
FORMAT: Final = "scones-model-2"
"""What `model.json` calls this layout."""
MAX_UNPACKED_BYTES: Final = 2_000_000_000
"""An archive that unpacks to more is refused."""
MAX_IMAGE_SIZE: Final = 1024
_MAX_MEMBERS: Final = 100
_PIECE_BYTES: Final = 1 << 20
_MAX_TEXT_BYTES: Final = 1 << 20
_MAX_TEXT_CHARACTERS: Final = 1000
_MAX_METRICS: Final = 1000
METRICS: Final = {
    "oof_accuracy": "cross-validated accuracy on the training photos",
    "new_source_accuracy": "accuracy on sources left out of training",
    "oof_refused": "training photos rejected as out of distribution",
    "oof_outliers_accepted": "photos of other things not rejected",
    "oof_log_loss": "cross-validated log loss",
    "temperature": "temperature",
}
"""What training measures, in words, the most important first."""
_NO_SHARES: Final = {"oof_log_loss", "temperature"}


def metric_figure(name: str, value: float) -> str:
    """The value of a metric for a person to read: a share as a percentage, any other as a number."""
    return f"{value:.1%}" if name in METRICS.keys() - _NO_SHARES else f"{value:.4g}"


_LISTED: Final = (MODEL, ABOUT, BASELINE, CARD)
_MAYBE: Final = (OUT_OF_FOLD,)


class InvalidModelFile(ModelError):
    """The model file is incomplete, damaged or in another format."""

    def __init__(self, where: str, reason: str, following: str = "train again with: scones train") -> None:
        super().__init__(f"model file {where} cannot be used: {reason}; {following}")
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What `model.json` says of a model."""

    classes: tuple[str, ...]
    image_size: int
    temperature: float
    data_version: str
    metrics: Mapping[str, float]
    created: str
    seed: int
    unfamiliar_above: float | None = None
    """Photos with a higher `unfamiliarity` are not of any class; None if the model has no such output."""
    photo_size: int = 0
    """The side in pixels that its training photos have themselves, at most *image_size*; drift is measured at it."""
    backbone: str = ""
    """The pretrained network that it is made of; empty for a model from elsewhere."""

    def __post_init__(self) -> None:
        """Without a photo size, it is that of the model."""
        object.__setattr__(self, "photo_size", self.photo_size or self.image_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile(ModelDescription):
    """A verified model file; `version` is the first 12 hex digits of the SHA-256 of its list of checksums."""

    model_path: Path
    baseline_path: Path
    out_of_fold_path: Path | None
    """None for a model from elsewhere."""
    version: str


def write_model_file(folder: Path, description: ModelDescription, card: str) -> ModelFile:
    """Complete the model file in *folder*, which must contain `model.onnx` and `baseline.npz`.

    Out-of-fold predictions become part of it if they are there too.

    Raises:
        InvalidModelFile: one of the two is missing.
    """
    about = {"format": FORMAT} | {name: getattr(description, name) for name in ModelDescription.__slots__}
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    listed = [*_LISTED, *(name for name in _MAYBE if (folder / name).exists())]
    sums = "".join(f"{_sha256(folder, name)}  {name}\n" for name in listed)
    (folder / SUMS).write_text(sums, encoding="ascii")
    return read_model_file(folder)


def read_model_file(folder: Path) -> ModelFile:
    """Read the model file in *folder* after verifying each of its files.

    Raises:
        InvalidModelFile: a file is missing or differs from its checksum, or `model.json` is not valid.
    """
    sums = _read(folder, SUMS, _MAX_TEXT_BYTES)
    listed = _parse_sums(folder, sums)
    for name, expected in listed.items():
        if _sha256(folder, name) != expected:
            raise InvalidModelFile(str(folder), f"{name} differs from its checksum")
    description = _parse_description(folder)
    return ModelFile(
        **{name: getattr(description, name) for name in ModelDescription.__slots__},
        model_path=folder / MODEL,
        baseline_path=folder / BASELINE,
        out_of_fold_path=folder / OUT_OF_FOLD if OUT_OF_FOLD in listed else None,
        version=hashlib.sha256(sums).hexdigest()[:12],
    )


def unpack(tar_gz: bytes | Path, folder: Path) -> None:
    """Unpack a `model.tar.gz` into *folder*, which is created; only plain files and folders inside it are accepted.

    Raises:
        InvalidModelFile: no such archive, a damaged one, or a member that is a link, a device or leads outside.
    """
    where = str(tar_gz) if isinstance(tar_gz, Path) else "model.tar.gz"
    try:
        data = tar_gz.read_bytes() if isinstance(tar_gz, Path) else tar_gz
        with _BoundedGzip(fileobj=io.BytesIO(data)) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            _unpack_members(archive, folder, where)
    except InvalidModelFile:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise InvalidModelFile(where, f"it does not unpack ({_reason(error)})") from error


@contextmanager
def open_model_file(model_file: bytes | Path) -> Iterator[ModelFile]:
    """Read a model file, a folder or a `model.tar.gz`; what has to be unpacked for it is gone afterwards.

    Raises:
        InvalidModelFile: as `unpack` and `read_model_file` do.
    """
    if isinstance(model_file, Path) and model_file.is_dir():
        yield read_model_file(model_file)
        return
    with tempfile.TemporaryDirectory(prefix="scones-") as folder:
        unpack(model_file, Path(folder))
        yield read_model_file(Path(folder))


class _BoundedGzip(gzip.GzipFile):
    """A stream that unpacks to a limited size, read in small pieces: tarfile reads a whole header at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read at most a piece; a longer one is a header of no model file."""
        if size is None or not 0 <= size <= _PIECE_BYTES:
            raise ValueError("a header is too long")
        if self.tell() > MAX_UNPACKED_BYTES + _MAX_MEMBERS * _PIECE_BYTES:
            raise ValueError("it unpacks to too much")
        return super().read(size)


def _reason(error: Exception) -> str:
    """Why, in one line, whatever a hostile file has put into the message."""
    text = "it is not a gzip file" if str(error).startswith("Not a gzipped file") else str(error)
    return printable(" ".join(text.split()) or type(error).__name__)[:300]


def _unpack_members(archive: tarfile.TarFile, folder: Path, where: str) -> None:
    total = 0
    for number, member in enumerate(archive, start=1):
        path, plain = PurePosixPath(member.name), member.isdir() or (member.isfile() and not member.issparse())
        if path.is_absolute() or ".." in path.parts or not plain:
            raise InvalidModelFile(where, f"its member {member.name[:100]!r} is not a plain file inside it")
        if number > _MAX_MEMBERS:
            raise InvalidModelFile(where, f"it has more than {_MAX_MEMBERS} members")
        total += member.size
        if total > MAX_UNPACKED_BYTES:
            raise InvalidModelFile(where, f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        target = folder.joinpath(*path.parts)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        with target.open("wb") as file:
            while content and (piece := content.read(_PIECE_BYTES)):
                file.write(piece)


def _parse_sums(folder: Path, sums: bytes) -> dict[str, str]:
    listed: dict[str, str] = {}
    for line in sums.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if PurePosixPath(name).name != name:
            raise InvalidModelFile(str(folder), f"{SUMS} lists {name!r}, which is not one of its files")
        listed[name] = digest
    for name in _LISTED:
        if name not in listed:
            raise InvalidModelFile(str(folder), f"{SUMS} does not list {name}")
    return listed


def _parse_description(folder: Path) -> ModelDescription:
    try:
        about = json.loads(_read(folder, ABOUT, _MAX_TEXT_BYTES))
        found = about["format"]
        if found != FORMAT:
            reason = f"{ABOUT} has format {str(found)[:50]!r}, not {FORMAT!r}"
            raise InvalidModelFile(str(folder), reason)  # noqa: TRY301 - the one check that is not of a value
        return ModelDescription(
            classes=_class_names(about["classes"]),
            image_size=_whole("image_size", about["image_size"], 1, MAX_IMAGE_SIZE),
            temperature=_real("temperature", about["temperature"], above=0.0),
            data_version=_text("data_version", about["data_version"]),
            metrics=_metrics(about["metrics"]),
            created=_text("created", about["created"]),
            seed=_whole("seed", about["seed"], 0, 2**63 - 1),
            unfamiliar_above=_number_or_none(about.get("unfamiliar_above")),
            photo_size=_whole("photo_size", about.get("photo_size", 0), 0, 100_000),
            backbone=_text("backbone", about.get("backbone", "")),
        )
    except InvalidModelFile:
        raise
    except RecursionError as error:
        raise InvalidModelFile(str(folder), f"{ABOUT} is not valid (it is nested too deeply)") from error
    except Exception as error:  # whatever a hostile file holds
        why = f"{type(error).__name__}: {_reason(error)}"
        raise InvalidModelFile(str(folder), f"{ABOUT} is not valid ({why})") from error


def _class_names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"classes must be a list of 2 to {MAX_CLASSES} names")
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or printable(name).strip() != name:
            raise ValueError(f"{str(name)[:50]!r} cannot be the name of a class")
    if len(set(names)) < len(names):
        raise ValueError("two classes have the same name")
    return tuple(names)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:50]}, not a whole number from {low} to {high}")
    return value


def _real(name: str, value: object, above: float = -math.inf) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not above < value < math.inf:
        raise ValueError(f"{name} is {str(value)[:50]}, not a number{f' above {above:g}' if above > -math.inf else ''}")
    return float(value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS:
        raise ValueError(f"{name} is not a text of at most {_MAX_TEXT_CHARACTERS} characters")
    return value


def _metrics(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, dict) or len(metrics) > _MAX_METRICS:
        raise ValueError(f"metrics must map at most {_MAX_METRICS} names to numbers")
    return {_text("a metric's name", name): float(value) for name, value in metrics.items()}


def _number_or_none(value: object) -> float | None:
    return None if value is None else _real("unfamiliar_above", value)


def _open(folder: Path, name: str) -> io.BufferedReader:
    try:
        if not (folder / name).is_file():  # a device or a pipe may have no end
            raise FileNotFoundError(name)
        return (folder / name).open("rb")
    except (OSError, ValueError) as error:
        raise InvalidModelFile(str(folder), f"{name} is missing or unreadable") from error


def _read(folder: Path, name: str, max_bytes: int) -> bytes:
    with _open(folder, name) as file:
        found = file.read(max_bytes + 1)
    if len(found) > max_bytes:
        raise InvalidModelFile(str(folder), f"{name} has more than {max_bytes:,} bytes")
    return found


def _sha256(folder: Path, name: str) -> str:
    with _open(folder, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The model file: a folder that training writes and SageMaker packs as `model.tar.gz`; checksums, no pickle."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from scones.domain.errors import ModelError

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

_LISTED: Final = (MODEL, ABOUT, BASELINE, CARD)
_MAYBE: Final = (OUT_OF_FOLD,)


class InvalidModelFile(ModelError):
    """The model file is incomplete, damaged or in another format."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"model file {where} cannot be used: {reason}; train again with: scones train")
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
    sums = _read(folder, SUMS)
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
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            _unpack_members(archive, folder, where)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise InvalidModelFile(where, f"it does not unpack ({error})") from error


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


def _unpack_members(archive: tarfile.TarFile, folder: Path, where: str) -> None:
    total = 0
    for member in archive:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise InvalidModelFile(where, f"its member {member.name!r} is not a plain file inside it")
        total += member.size
        if total > MAX_UNPACKED_BYTES:
            raise InvalidModelFile(where, f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        target = folder.joinpath(*path.parts)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        content = archive.extractfile(member)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.read() if content else b"")


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
        about = json.loads(_read(folder, ABOUT))
        found = about["format"]
        if found != FORMAT:
            raise InvalidModelFile(str(folder), f"{ABOUT} has format {found!r}, not {FORMAT!r}")
        return ModelDescription(
            classes=tuple(str(name) for name in about["classes"]),
            image_size=int(about["image_size"]),
            temperature=float(about["temperature"]),
            data_version=str(about["data_version"]),
            metrics={str(name): float(value) for name, value in about["metrics"].items()},
            created=str(about["created"]),
            seed=int(about["seed"]),
            unfamiliar_above=_number_or_none(about.get("unfamiliar_above")),
            photo_size=int(about.get("photo_size", 0)),
            backbone=str(about.get("backbone", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidModelFile(str(folder), f"{ABOUT} is not valid ({error!r})") from error


def _number_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InvalidModelFile(str(folder), f"{name} is missing or unreadable") from error


def _sha256(folder: Path, name: str) -> str:
    return hashlib.sha256(_read(folder, name)).hexdigest()

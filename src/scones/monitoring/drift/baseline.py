"""The baseline: the features of the training photos, and what else training measures for the monitor."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import MonitoringError
from scones.monitoring.drift.features import (
    ADDED_FEATURES,
    CONTENT_FEATURES,
    FEATURES,
    ContentDirections,
    current_columns,
)
from scones.monitoring.drift.stream_statistics import StreamCalibration

_FORMAT = 2

_MAY_BE_ABSENT = np.array([name in ADDED_FEATURES or name == "ood_score" for name in FEATURES])

Array: TypeAlias = NDArray[np.generic]


class InvalidBaseline(MonitoringError):
    """The baseline is missing, damaged, or was measured with other features."""


class InvalidSimulation(MonitoringError):
    """The simulated damage for the accuracy estimate is missing or inconsistent."""


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """Photos with known labels: features [n, features], probabilities [n, C], and whether predictions are right [n].

    Raises:
        InvalidSimulation: on construction, if their numbers differ.
    """

    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    right: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Reject arrays of different lengths."""
        if not len(self.features) == len(self.probabilities) == len(self.right) > 0:
            counts = f"{len(self.features)} photos, {len(self.probabilities)} predictions, {len(self.right)} labels"
            raise InvalidSimulation(f"{counts}: the numbers differ; train again")


@dataclass(frozen=True, slots=True)
class SimulatedDamage:
    """Labelled training photos, clean and with simulated damage, by name: "kind severity".

    Raises:
        InvalidSimulation: on construction, if there are fewer than two kinds of damage.
    """

    clean: LabelledPhotos
    damaged: Mapping[str, LabelledPhotos]

    def __post_init__(self) -> None:
        """Reject a single kind: the estimate trains on some kinds and validates on others."""
        if len({damage_kind(name) for name in self.damaged}) <= 1:
            raise InvalidSimulation("the accuracy estimate needs at least two kinds of simulated damage; train again")


def damage_kind(name: str) -> str:
    """The kind in a damage's name, "kind severity"."""
    return name.split(" ", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The features of the baseline photos: *values* is [n, len(FEATURES)], one row per photo.

    They come from out-of-fold predictions: a model is overconfident on the photos it was trained on.

    Raises:
        InvalidBaseline: on construction, if *values* has another shape or is not finite.
    """

    values: NDArray[np.float64]
    data_version: str = ""
    calibration: StreamCalibration | None = None
    """How high the stream detector's statistics rise on clean photos; without it, they are simulated again."""
    simulated_damage: SimulatedDamage | None = None
    """From which the accuracy without labels is estimated."""
    days: NDArray[np.intp] | None = None
    """For recorded traffic, in the order of time: the number of each photo's day. Training photos have none."""
    content: ContentDirections | None = None
    """How content is measured; None if the model has no features for that."""

    def __post_init__(self) -> None:
        """Reject a table that no detector could use."""
        shape = self.values.shape
        if len(shape) != 2 or shape[1] != len(FEATURES) or not shape[0]:
            raise InvalidBaseline(f"the baseline is {shape}, not [n, {len(FEATURES)}]; train again with this version")
        holes = ~np.isfinite(self.values)
        # A model without an OOD detector has no OOD scores at all; any other missing value is damage.
        absent = np.isnan(self.values).all(axis=0) & _MAY_BE_ABSENT
        if holes[:, ~absent].any():
            raise InvalidBaseline("the baseline holds values that are not finite; train again")
        if self.days is not None and len(self.days) != len(self.values):
            raise InvalidBaseline(
                f"the baseline has {len(self.values)} photos, and days for {len(self.days)}; learn it again with: "
                "scones monitor --learn DAYS"
            )

    @property
    def ood_lower(self) -> float:
        """The lowest OOD score that is compared; NaN if it was not measured."""
        return float(self.values[:, -1].min())

    def day_count(self) -> int:
        """The number of days of recorded traffic; 0 for training photos."""
        return 0 if self.days is None else len(np.unique(self.days))

    def save(self, path: Path) -> None:
        """Write the baseline as a npz file that loads without pickle."""
        path.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content that `save` writes."""
        out = io.BytesIO()
        np.savez_compressed(out, allow_pickle=False, **self._tables())
        return out.getvalue()

    def _tables(self) -> dict[str, Array]:
        tables: dict[str, Array] = {
            "format": np.array(_FORMAT),
            "channels": np.array(FEATURES),
            "values": np.asarray(self.values, dtype=np.float64),
            "data_version": np.array(self.data_version),
        }
        if self.calibration is not None:
            tables["highest"] = self.calibration.highest
        if self.days is not None:
            tables["days"] = self.days
        if self.content is not None:
            tables |= {"content_mean": self.content.mean, "content_directions": self.content.directions}
        return tables if self.simulated_damage is None else tables | _pack_damage(self.simulated_damage)

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        """Read a baseline that `save` wrote.

        Raises:
            InvalidBaseline: no such file, not a baseline, or other features than this version measures.
        """
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise InvalidBaseline(f"cannot read the baseline {path}: {error}; train again") from error

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> "Baseline":
        """Read what `to_bytes` returned; *where* it comes from is for the error.

        Raises:
            InvalidBaseline: not a baseline, or other features than this version measures.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as file:
                return cls._read(where, {name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, InvalidSimulation) as error:
            raise InvalidBaseline(f"cannot read the baseline {where}: {error}; train again") from error

    @classmethod
    def _read(cls, where: str, found: Mapping[str, Array]) -> "Baseline":
        try:
            if int(found["format"]) != _FORMAT:
                raise ValueError(f"format {found['format']}")  # noqa: TRY301 - one message for both
            names = found["channels"].tolist()
            values = current_columns(found["values"].astype(np.float64), names)
        except ValueError as error:
            raise InvalidBaseline(
                f"the baseline {where} was measured with other features; train again with this version"
            ) from error
        calibration = StreamCalibration(found["highest"].astype(np.float64)) if "highest" in found else None
        # Earlier releases did not keep whole predictions: such a baseline works, without the accuracy estimate.
        simulated_damage = _unpack_damage(found, names) if "judged_probabilities" in found else None
        days = found["days"].astype(np.intp) if "days" in found else None
        return cls(values, str(found["data_version"]), calibration, simulated_damage, days, _unpack_content(found))


def _unpack_content(found: Mapping[str, Array]) -> ContentDirections | None:
    if "content_mean" not in found:
        return None
    mean, directions = (found[f"content_{name}"].astype(np.float32) for name in ("mean", "directions"))
    if directions.shape != (*mean.shape, len(CONTENT_FEATURES)) or not np.isfinite(directions).all():
        raise ValueError(f"its content directions are {directions.shape}")
    return ContentDirections(mean, directions)


def _pack_damage(simulated_damage: SimulatedDamage) -> dict[str, Array]:
    """One table of all photos, the clean ones first, and how many there are of each name."""
    parts = {"": simulated_damage.clean} | dict(simulated_damage.damaged)
    return {
        "names": np.array(list(parts)),
        "counts": np.array([len(part.right) for part in parts.values()]),
        "judged_channels": np.concatenate([part.features for part in parts.values()]).astype(np.float32),
        "judged_probabilities": np.concatenate([part.probabilities for part in parts.values()]).astype(np.float32),
        "judged_right": np.concatenate([part.right for part in parts.values()]),
    }


def _unpack_damage(found: Mapping[str, Array], names: list[str]) -> SimulatedDamage:
    ends = np.cumsum(found["counts"])[:-1]
    tables = (np.split(found[f"judged_{name}"], ends) for name in ("channels", "probabilities", "right"))
    parts = {
        str(name): LabelledPhotos(
            current_columns(features.astype(np.float64), names), probabilities.astype(np.float64), right.astype(bool)
        )
        for name, features, probabilities, right in zip(found["names"], *tables, strict=True)
    }
    return SimulatedDamage(parts.pop(""), parts)

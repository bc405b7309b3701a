"""The baseline: what the channels looked like on the photos that the model was trained on."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_statistics import StreamCalibration
from scones.monitoring.performance.accuracy_estimate import InvalidSimulation, LabelledPhotos, SimulatedDamage

_FORMAT = 2

Array: TypeAlias = NDArray[np.generic]


class InvalidBaseline(SconesError):
    """The baseline is missing, damaged, or was measured with other channels."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The measurements of the baseline photos: *values* is [n, len(CHANNELS)], one row per photo.

    Measure it on out-of-fold answers: a model is too sure of the photos it learnt from.

    Raises:
        BadBaseline: on construction, if *values* has another shape or is not finite.
    """

    values: NDArray[np.float64]
    data_version: str = ""
    calibration: StreamCalibration | None = None
    """How high the stream detector's statistics rise on clean photos; without it, calibrate anew."""
    lesson: SimulatedDamage | None = None
    """What the accuracy without labels is estimated from."""
    days: NDArray[np.intp] | None = None
    """Of recorded traffic, in the order of time: the number of each photo's day. Photos of training have none."""

    def __post_init__(self) -> None:
        """Refuse a table that no detector could use."""
        shape = self.values.shape
        if len(shape) != 2 or shape[1] != len(FEATURES) or not shape[0]:
            raise InvalidBaseline(f"the baseline is {shape}, not [n, {len(FEATURES)}]; train again with this version")
        holes = ~np.isfinite(self.values)
        # A model without that output gives no unfamiliarity at all; any other hole is damage.
        if holes[:, :-1].any() or (holes[:, -1].any() and not np.isnan(self.values[:, -1]).all()):
            raise InvalidBaseline("the baseline holds values that are not finite; train again")
        if self.days is not None and len(self.days) != len(self.values):
            raise InvalidBaseline(
                f"the baseline has {len(self.values)} photos and the days of {len(self.days)}; learn it again"
            )

    @property
    def familiar(self) -> float:
        """The least unfamiliarity that is told apart; NaN where it was not measured."""
        return float(self.values[:, -1].min())

    def save(self, path: Path) -> None:
        """Write the baseline as a npz file that loads without pickle."""
        path.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Give what `save` writes."""
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
        return tables if self.lesson is None else tables | _pack(self.lesson)

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        """Read a baseline that `save` wrote.

        Raises:
            BadBaseline: no such file, not a baseline, or other channels than this version measures.
        """
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise InvalidBaseline(f"cannot read the baseline {path}: {error}; train again") from error

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> "Baseline":
        """Read what `to_bytes` gave; *where* it comes from is for the error.

        Raises:
            BadBaseline: not a baseline, or other channels than this version measures.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as file:
                return cls._read(where, {name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, InvalidSimulation) as error:
            raise InvalidBaseline(f"cannot read the baseline {where}: {error}; train again") from error

    @classmethod
    def _read(cls, where: str, found: Mapping[str, Array]) -> "Baseline":
        if int(found["format"]) != _FORMAT or tuple(found["channels"].tolist()) != FEATURES:
            raise InvalidBaseline(
                f"the baseline {where} was measured with other channels; train again with this version"
            )
        calibration = StreamCalibration(found["highest"].astype(np.float64)) if "highest" in found else None
        # Lessons of before the whole answers were kept teach nothing; the rest of such a baseline is as good as ever.
        lesson = _unpack(found) if "judged_probabilities" in found else None
        days = found["days"].astype(np.intp) if "days" in found else None
        return cls(found["values"].astype(np.float64), str(found["data_version"]), calibration, lesson, days)


def _pack(lesson: SimulatedDamage) -> dict[str, Array]:
    """One table of all photos, the clean ones first, and how many there are of each name."""
    parts = {"": lesson.clean} | dict(lesson.damaged)
    return {
        "names": np.array(list(parts)),
        "counts": np.array([len(part.right) for part in parts.values()]),
        "judged_channels": np.concatenate([part.channels for part in parts.values()]).astype(np.float32),
        "judged_probabilities": np.concatenate([part.probabilities for part in parts.values()]).astype(np.float32),
        "judged_right": np.concatenate([part.right for part in parts.values()]),
    }


def _unpack(found: Mapping[str, Array]) -> SimulatedDamage:
    ends = np.cumsum(found["counts"])[:-1]
    tables = (np.split(found[f"judged_{name}"], ends) for name in ("channels", "probabilities", "right"))
    parts = {
        str(name): LabelledPhotos(channels.astype(np.float64), probabilities.astype(np.float64), right.astype(bool))
        for name, channels, probabilities, right in zip(found["names"], *tables, strict=True)
    }
    return SimulatedDamage(parts.pop(""), parts)

"""The baseline: what the channels looked like on the photos that the model was trained on."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scones.errors import SconesError
from scones.monitoring.channels import CHANNELS

_FORMAT = 1


class BadBaseline(SconesError):
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

    def __post_init__(self) -> None:
        """Refuse a table that no detector could use."""
        shape = self.values.shape
        if len(shape) != 2 or shape[1] != len(CHANNELS) or not shape[0]:
            raise BadBaseline(f"the baseline is {shape}, not [n, {len(CHANNELS)}]; train again with this version")
        holes = ~np.isfinite(self.values)
        # A model without that output gives no unfamiliarity at all; any other hole is damage.
        if holes[:, :-1].any() or (holes[:, -1].any() and not np.isnan(self.values[:, -1]).all()):
            raise BadBaseline("the baseline holds values that are not finite; train again")

    def save(self, path: Path) -> None:
        """Write the baseline as a npz file that loads without pickle."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(_FORMAT),
                channels=np.array(CHANNELS),
                values=np.asarray(self.values, dtype=np.float64),
                data_version=np.array(self.data_version),
            )

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        """Read a baseline that `save` wrote.

        Raises:
            BadBaseline: no such file, not a baseline, or other channels than this version measures.
        """
        try:
            # Opened here, since numpy forgets to close what it cannot read.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = {name: file[name] for name in ("format", "channels", "values", "data_version")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadBaseline(f"cannot read the baseline {path}: {error}; train again") from error
        if int(found["format"]) != _FORMAT or tuple(found["channels"].tolist()) != CHANNELS:
            raise BadBaseline(f"the baseline {path} was measured with other channels; train again with this version")
        return cls(found["values"], str(found["data_version"]))

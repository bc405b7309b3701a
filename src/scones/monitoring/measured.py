"""Measured: what a look keeps of each photo, some hundred bytes, for what may come later: labels, days to learn."""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError
from scones.monitoring.channels import CHANNELS
from scones.monitoring.scores import Floats

PREFIX: Final = "monitor/measured/"
MOST_PHOTOS: Final = 20_000
"""A look keeps so many photos at most, the newest."""
_FORMAT = 1
_TEXTS = ("events", "times", "hashes")


class BadMeasured(SconesError):
    """What a look kept of its photos is damaged, or of another version."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Photos in the order in which they were read: *probabilities* [n, C] and *channels* [n, channels].

    *model* is the version of the one that they were answered by, *hashes* are those of the photos' bytes.
    """

    model: str
    events: tuple[str, ...]
    times: tuple[str, ...]
    hashes: tuple[str, ...]
    probabilities: Floats
    channels: Floats

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.events)

    @classmethod
    def join(cls, parts: Iterable["Measured"]) -> "Measured":
        """Put photos of one model together, in the order given; there must be one part or more."""
        found = list(parts)
        return cls(
            model=found[0].model,
            events=tuple(event for part in found for event in part.events),
            times=tuple(time for part in found for time in part.times),
            hashes=tuple(digest for part in found for digest in part.hashes),
            probabilities=np.concatenate([part.probabilities for part in found]),
            channels=np.concatenate([part.channels for part in found]),
        )

    def take(self, rows: NDArray[np.intp]) -> "Measured":
        """Give some of the photos, by place."""
        places = rows.tolist()
        events, times, hashes = (
            tuple(texts[row] for row in places) for texts in (self.events, self.times, self.hashes)
        )
        return Measured(self.model, events, times, hashes, self.probabilities[rows], self.channels[rows])

    def last(self, most: int) -> "Measured":
        """Give the newest *most* photos at most."""
        return self if len(self) <= most else self.take(np.arange(len(self) - most, len(self)))

    def thinned(self, most: int) -> "Measured":
        """Give *most* photos at most, evenly from all."""
        return self if len(self) <= most else self.take(np.linspace(0, len(self) - 1, most).astype(np.intp))

    def to_bytes(self) -> bytes:
        """Write it as a npz file that loads without pickle."""
        out = io.BytesIO()
        texts = {name: np.array(getattr(self, name), dtype=np.str_) for name in _TEXTS}
        tables = {"probabilities": self.probabilities, "values": self.channels}
        head = {"format": np.array(_FORMAT), "channels": np.array(CHANNELS), "model": np.array(self.model)}
        np.savez_compressed(out, allow_pickle=False, **head, **texts, **tables)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> "Measured":
        """Read what `to_bytes` gave; *where* it comes from is for the error.

        Raises:
            BadMeasured: damaged, or of another version's channels.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as file:
                return cls._read({name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadMeasured(f"cannot read {where} ({error}); delete it, and its photos are left out") from error

    @classmethod
    def _read(cls, found: Mapping[str, np.ndarray]) -> "Measured":
        if int(found["format"]) != _FORMAT or tuple(found["channels"].tolist()) != CHANNELS:
            raise ValueError("it is of another version")
        events, times, hashes = (tuple(map(str, found[name])) for name in _TEXTS)
        return cls(str(found["model"]), events, times, hashes, found["probabilities"], found["values"])

"""Recorded traffic: what is kept of each photo, some hundred bytes, and whole days of it as a new baseline.

Training photos are assumed independent and come from any hour. Traffic is not: at night one dark photo follows another.
A user who knows that some days were normal can make them the baseline; the simulation then draws whole days.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import MonitoringError
from scones.domain.text import plural
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES, MIN_PHOTOS, Floats, Photos, current_columns
from scones.monitoring.drift.stream_statistics import MIN_BLOCKS, calibrate_stream

MAX_PHOTOS_KEPT: Final = 20_000
"""A monitoring run keeps the newest photos, up to this number."""
_FORMAT = 1
_TEXTS = ("events", "times", "hashes")


class UnreadableTraffic(MonitoringError):
    """Recorded traffic is damaged, or from another version."""


@dataclass(frozen=True, slots=True)
class PhotoWindow:
    """Consecutive photos: uint8 [n, H, W, 3], their *features* [n, features] and *probabilities* [n, C].

    *first* is the number of the first photo. *expected* [n, C] are the registered model's own probabilities, if they
    were computed.
    """

    photos: Photos
    features: Floats
    probabilities: Floats
    times: tuple[str, ...]
    events: tuple[str, ...]
    first: int = 1
    expected: Floats | None = None

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.times)


@dataclass(frozen=True, slots=True)
class RecordedTraffic:
    """Photos in the order in which they were read: *probabilities* [n, C] and *features* [n, features].

    *model* is the version of the model that predicted them; *hashes* are the SHA-256 of the photos' bytes.
    """

    model: str
    events: tuple[str, ...]
    times: tuple[str, ...]
    hashes: tuple[str, ...]
    probabilities: Floats
    features: Floats

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.events)

    @classmethod
    def join(cls, parts: Iterable["RecordedTraffic"]) -> "RecordedTraffic":
        """Join photos of one model, in the order given; there must be at least one part."""
        found = list(parts)
        return cls(
            model=found[0].model,
            events=tuple(event for part in found for event in part.events),
            times=tuple(time for part in found for time in part.times),
            hashes=tuple(digest for part in found for digest in part.hashes),
            probabilities=np.concatenate([part.probabilities for part in found]),
            features=np.concatenate([part.features for part in found]),
        )

    def take(self, rows: NDArray[np.intp]) -> "RecordedTraffic":
        """Select photos, by place."""
        places = rows.tolist()
        events, times, hashes = (
            tuple(texts[row] for row in places) for texts in (self.events, self.times, self.hashes)
        )
        return RecordedTraffic(self.model, events, times, hashes, self.probabilities[rows], self.features[rows])

    def last(self, max_photos: int) -> "RecordedTraffic":
        """The newest photos, at most *max_photos*."""
        return self if len(self) <= max_photos else self.take(np.arange(len(self) - max_photos, len(self)))

    def thinned(self, max_photos: int) -> "RecordedTraffic":
        """At most *max_photos* photos, evenly from all."""
        return self if len(self) <= max_photos else self.take(np.linspace(0, len(self) - 1, max_photos).astype(np.intp))

    def to_bytes(self) -> bytes:
        """Write a npz file that loads without pickle."""
        out = io.BytesIO()
        texts = {name: np.array(getattr(self, name), dtype=np.str_) for name in _TEXTS}
        tables = {"probabilities": self.probabilities, "values": self.features}
        head = {"format": np.array(_FORMAT), "channels": np.array(FEATURES), "model": np.array(self.model)}
        np.savez_compressed(out, allow_pickle=False, **head, **texts, **tables)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> "RecordedTraffic":
        """Read what `to_bytes` returned; *where* it comes from is for the error.

        Raises:
            UnreadableTraffic: damaged, or with another version's features.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as file:
                return cls._read({name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UnreadableTraffic(
                f"cannot read {where} ({error}); delete it; its photos are then left out"
            ) from error

    @classmethod
    def _read(cls, found: Mapping[str, np.ndarray]) -> "RecordedTraffic":
        if int(found["format"]) != _FORMAT:
            raise ValueError("it is from another version")
        values = current_columns(found["values"], found["channels"].tolist())
        events, times, hashes = (tuple(map(str, found[name])) for name in _TEXTS)
        return cls(str(found["model"]), events, times, hashes, found["probabilities"], values)


class TooFewDays(MonitoringError):
    """There are too few days of this model's traffic to learn from."""


def learn_days(trained: Baseline, traffic: Iterable[RecordedTraffic], model: str, days: int, seed: int) -> Baseline:
    """Make a baseline of the last *days* days (in UTC) of the *model*'s traffic; the rest is as *trained* has it.

    Days of fewer than MIN_PHOTOS photos do not count, so that a clock that jumps replaces no other day. Photos whose
    time cannot be read are left out. Very many photos are thinned evenly.

    Raises:
        TooFewDays: fewer than five days are left.
    """
    parts = [part for part in traffic if part.model == model]
    times = np.array([_day(time) for part in parts for time in part.times], dtype="datetime64[D]")
    different, counts = np.unique(times[~np.isnat(times)], return_counts=True)
    learned = different[counts >= MIN_PHOTOS][-days:]
    kept = np.isin(times, learned)
    if len(learned) < MIN_BLOCKS:
        found = (
            f"{plural(len(learned), 'day')} with {MIN_PHOTOS} photos or more of the model {model} in the last {days}"
        )
        raise TooFewDays(f"{found}; learn when there are {MIN_BLOCKS}, better fourteen")
    joined = RecordedTraffic.join(parts)
    order = np.flatnonzero(kept)[np.argsort(np.array(joined.times)[kept], kind="stable")]
    rows = order[np.linspace(0, len(order) - 1, min(len(order), MAX_PHOTOS_KEPT)).astype(np.intp)]
    numbers = np.unique(times[rows], return_inverse=True)[1].astype(np.intp)
    values = joined.features[rows].copy()
    # Photos of an earlier release lack some features, which are then not compared.
    values[:, np.isnan(values).any(axis=0)] = np.nan
    calibration = calibrate_stream(values, numbers, seed=seed)
    return Baseline(values, trained.data_version, calibration, trained.simulated_damage, numbers, trained.content)


def _day(time: str) -> str:
    """The day of a captured time; "NaT" if it cannot be read."""
    try:
        return str(date.fromisoformat(time[:10]))
    except ValueError:
        return "NaT"

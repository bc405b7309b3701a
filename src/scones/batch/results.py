"""Batch results: the files of a batch run, and one result per photo as JSON Lines and Parquet."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from scones.domain.decision import Outcome, error_message
from scones.domain.errors import DataError, require_writable
from scones.domain.naming import BATCHES_PREFIX
from scones.domain.text import spreadsheet_cell

Column = tuple[Literal["text", "number"], list[str] | list[float | None]]
"""A column's type and values; None is a missing number."""


def to_parquet(columns: Mapping[str, Column]) -> bytes:
    """Write columns of the same length."""
    # Loaded here: only one command needs it.
    from arro3.core import Array, DataType, Table  # noqa: PLC0415
    from arro3.io import write_parquet  # noqa: PLC0415

    kinds = {"text": DataType.string(), "number": DataType.float64()}
    table = Table.from_pydict({name: Array(values, kinds[kind]) for name, (kind, values) in columns.items()})
    buffer = io.BytesIO()
    write_parquet(table, buffer)
    return buffer.getvalue()


_DIGITS = 16


class NoPhotos(DataError):
    """The source has no photos."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source} has no photos; name an S3 prefix or a folder of PNG, JPEG or WebP files")
        self.source = source


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of a batch: its key, and the ETag of its content."""

    key: str
    etag: str


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one photo; *error* and *reason* if it was not classified; *probabilities* in class order."""

    key: str
    outcome: Outcome
    label: str = ""
    confidence: float | None = None
    probabilities: tuple[float, ...] = ()
    error: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The keys of a run's files, below one prefix of the environment's bucket."""

    name: str

    @property
    def prefix(self) -> str:
        """The prefix of all files of the run."""
        return f"{BATCHES_PREFIX}{self.name}/"

    @property
    def manifests(self) -> str:
        """The prefix of the manifests: per attempt the photos that are still to be classified."""
        return f"{self.prefix}manifests/"

    @property
    def parts(self) -> str:
        """The prefix of the parts: the results of each finished batch."""
        return f"{self.prefix}parts/"

    def manifest(self, attempt: int) -> str:
        """The manifest of the attempt of that number, from 1."""
        return f"{self.manifests}{attempt:04d}.jsonl"

    def outcomes(self, attempt: int) -> str:
        """The prefix of the Distributed Map's own files about an attempt."""
        return f"{self.prefix}outcomes/{attempt:04d}/"


def run_name(bucket: str, photos: Iterable[Photo], terms: Sequence[object]) -> str:
    """The name of a run: a hash of its photos and the *terms* of their decisions, so the same command continues it."""
    digest = hashlib.sha256(repr((bucket, *terms)).encode())
    for photo in photos:
        digest.update(f"{photo.key}\n{photo.etag}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def manifest_lines(photos: Iterable[Photo]) -> bytes:
    """Write the manifest that the Distributed Map reads: one JSON object per line."""
    # Escapes keep Unicode's other line ends out of the file.
    return "".join(f"{json.dumps({'key': photo.key, 'etag': photo.etag})}\n" for photo in photos).encode()


def read_part(key: str, body: bytes) -> list[Result]:
    """Read the part under *key*; an incomplete one, by the count in its name, has no results."""
    count = key.removesuffix(".jsonl").rpartition("-")[2]
    lines = body.split(b"\n")[:-1]
    if len(lines) != int(count):
        return []
    return [_decoder.decode(line) for line in lines]


def failures(body: bytes) -> list[Result]:
    """The photos of failed batches, from the Distributed Map's file of them."""
    found = []
    for entry in json.loads(body):
        reason = error_message(entry.get("Cause", ""))
        error = entry.get("Error", "Unknown")
        items = json.loads(entry["Input"])["Items"]
        found += [Result(item["key"], Outcome.FAILED, error=error, reason=reason) for item in items]
    return found


def account(
    photos: Sequence[Photo], done: Mapping[str, Result], failed: Mapping[str, Result], ended: str
) -> list[Result]:
    """One result per photo, in the order of *photos*; *ended* is the error of those that no batch reached."""
    unreached = "no batch reached it; run the same command again"
    return [
        done.get(photo.key) or failed.get(photo.key) or Result(photo.key, Outcome.FAILED, error=ended, reason=unreached)
        for photo in photos
    ]


def count(results: Iterable[Result]) -> dict[str, int]:
    """The number of photos of each outcome, zeros too."""
    found = Counter(result.outcome for result in results)
    return {outcome.value: found[outcome] for outcome in Outcome}


def result_lines(results: Iterable[Result]) -> bytes:
    """Write results as JSON Lines."""
    return b"".join(_encoder.encode(result) + b"\n" for result in results)


def columns(results: Sequence[Result], classes: Collection[str]) -> dict[str, Column]:
    """Turn results into columns: one of text or numbers for each field, and one of probabilities for each class."""
    found: dict[str, Column] = {
        name: ("text", [str(getattr(result, name)) for result in results])
        for name in ("key", "outcome", "label", "error", "reason")
    }
    found["confidence"] = ("number", [result.confidence for result in results])
    for at, name in enumerate(classes):
        found[f"probability_{name}"] = ("number", [r.probabilities[at] if r.probabilities else None for r in results])
    return found


class UnknownFormat(DataError):
    """A file for results has a name that says no known format."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is for no known format; name a file that ends in {' or '.join(FORMATS)}")
        self.path = path


FORMATS: Final = (".csv", ".parquet")


def require_format(path: Path) -> Path:
    """Return *path* if its name says how to write results, and they can be written there.

    Raises:
        UnknownFormat: its name says no format.
        CannotWrite: nothing can be written there.
    """
    if path.suffix not in FORMATS:
        raise UnknownFormat(path)
    require_writable(path)
    return path


def read_lines(body: bytes) -> list[Result]:
    """Read what `result_lines` wrote."""
    return [_decoder.decode(line) for line in body.splitlines()]


def write_results(path: Path, results: Sequence[Result], classes: Collection[str], photos: Sequence[str] = ()) -> None:
    """Write a table with a row for each photo; no spreadsheet takes a cell of CSV for a formula.

    *photos* are the files as they were named, if they were: a column of their own.
    """
    table = columns(results, classes)
    if photos:
        table["photo"] = ("text", list(photos))
    require_format(path).parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        path.write_bytes(to_parquet(table))
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(spreadsheet_cell, table))
        cells = [
            map(spreadsheet_cell, map(str, values)) if kind == "text" else values for kind, values in table.values()
        ]
        writer.writerows(zip(*cells, strict=True))


_decoder = msgspec.json.Decoder(Result)
_encoder = msgspec.json.Encoder()

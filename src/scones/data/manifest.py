"""Manifests: the photos of a data version, in the two formats that SageMaker's built-in algorithms read.

`train.jsonl` and `test.jsonl` are augmented manifests, one JSON object per line; `train.lst` and `test.lst` are the
lists of the built-in image classification. There is one of each per split.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scones.domain.errors import DataError


class InvalidManifest(DataError):
    """The manifest in the bucket is not in the format of Scones."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One staged photo: its S3 key and its label."""

    key: str
    label: str
    split: str
    sha256: str


def to_lines(samples: Iterable[Sample], bucket: str, classes: Sequence[str]) -> bytes:
    """Write the manifest; `vehicle` is the class's index, and `vehicle-metadata` its name and where it came from.

    Source: SageMaker's documentation of augmented manifest files and of Ground Truth's classification output.
    """
    lines = (
        json.dumps(
            {
                "source-ref": f"s3://{bucket}/{sample.key}",
                "vehicle": classes.index(sample.label),
                "vehicle-metadata": {"class-name": sample.label, "split": sample.split, "sha256": sample.sha256},
            },
            ensure_ascii=False,
        )
        for sample in samples
    )
    return "".join(f"{line}\n" for line in lines).encode()


def to_list(samples: Iterable[Sample], classes: Sequence[str]) -> bytes:
    """Write the list: a number, the class's index and the path below the split's folder, parted by tabs.

    Source: SageMaker's documentation of the image classification algorithm, "Train with Image Format".
    """
    lines = (
        f"{number}\t{classes.index(sample.label)}\t{sample.key.partition(f'/{sample.split}/')[2]}\n"
        for number, sample in enumerate(samples)
    )
    return "".join(lines).encode()


def from_lines(data: bytes, bucket: str) -> tuple[Sample, ...]:
    """Read a manifest back.

    Raises:
        InvalidManifest: a line is in another format; the message says which.
    """
    # Not splitlines: file names may hold Unicode's other line ends.
    lines = data.decode().removesuffix("\n").split("\n") if data else []
    return tuple(_sample(line, number, bucket) for number, line in enumerate(lines, start=1))


def _sample(line: str, number: int, bucket: str) -> Sample:
    try:
        entry = json.loads(line)
        about = entry["vehicle-metadata"]
        key = entry["source-ref"].removeprefix(f"s3://{bucket}/")
        return Sample(key, about["class-name"], about["split"], about["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidManifest(
            f"line {number} of the manifest is not in the format of Scones ({error}); run: scones stage"
        ) from error

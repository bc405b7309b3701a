"""Turns an exported model into whole numbers, int8: a third of the size, and about half the work to serve."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from scones.training.export import RESTORING

_BATCH: Final = 50
_IN_WHOLE_NUMBERS: Final = ["Conv", "Relu", "MaxPool", "Add"]
CALIBRATION_PHOTOS: Final = 200
"""Photos by which the range of each layer's values is found."""


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    """Hands the photos to the calibration in batches."""

    def __init__(self, photos: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = (
            photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Give the next batch by the model's input name, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"photos": batch}


def quantise(model: bytes, photos: npt.NDArray[np.uint8]) -> bytes:
    """Quantise the convolutions of *model*, each output channel by itself; *photos* show what values occur.

    The rest is cheap, and stays exact: restoring, standardization, head, temperature, and the OOD distance. What
    lies between two convolutions is done in whole numbers, too, so that nothing is converted back and forth.
    """
    some = photos[:: max(1, len(photos) // CALIBRATION_PHOTOS)]
    exact = onnx.load_from_string(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            exact,
            path,
            _Photos(some),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_IN_WHOLE_NUMBERS,
            nodes_to_exclude=[node.name for node in exact.graph.node if node.name.startswith(RESTORING)],
        )
        return path.read_bytes()


class _quiet:  # noqa: N801 - used like a function
    """Keeps the quantiser's advice to preprocess, which this graph does not need, off the job's log."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)

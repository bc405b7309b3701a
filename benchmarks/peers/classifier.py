"""The work that every peer does for a photo, and nothing else: the same decoder, the same model, one thread."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime

from scones.data.decode import decode

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
_session = onnxruntime.InferenceSession(
    os.environ["BENCH_MODEL"],
    _options,
    providers=["CPUExecutionProvider"],
)
SIZE = int(os.environ["BENCH_SIZE"])


def classify(body: bytes) -> list[float]:
    """Return the probabilities of one photo."""
    (rows,) = _session.run(("probabilities",), {"photos": decode(body, SIZE)[np.newaxis]})
    return rows[0].tolist()  # type: ignore[no-any-return]

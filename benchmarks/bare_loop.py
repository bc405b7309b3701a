"""The limit: decode, and run the model, in a bare loop with no server round it.

Usage: python -m benchmarks.bare_loop ARTEFACT PHOTOS BATCH COUNT; prints CPU milliseconds a photo and the median
milliseconds of a call.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from scones.data.decode import decode
from scones.model.inference import Model
from scones.model.model_file import read_model_file


def main(model_file: str, folder: str, batch: int, count: int) -> None:
    """Measure one size of batch."""
    model = Model(read_model_file(Path(model_file)))
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    model.warm(batch)
    latencies = []
    cpu = time.process_time()
    for start in range(0, count, batch):
        begin = time.perf_counter()
        chosen = [decode(photos[index % len(photos)], model.size) for index in range(start, start + batch)]
        model.predict(np.stack(chosen))
        latencies.append(time.perf_counter() - begin)
    cpu_ms = 1000 * (time.process_time() - cpu) / count
    print(json.dumps({"cpu_ms": cpu_ms, "p50_ms": 1000 * statistics.median(latencies)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

"""river's ADWIN, as it comes: streams of numbers in as JSON, and out the place of the first alarm in each, or null."""

import json
import sys

from river import drift  # type: ignore[import-not-found]

baseline, streams = json.load(sys.stdin)
found = []
for stream in streams:
    detector = drift.ADWIN()
    for value in baseline:
        detector.update(value)
    first = None
    for place, value in enumerate(stream, start=1):
        detector.update(value)
        if detector.drift_detected:
            first = place
            break
    found.append(first)
json.dump(found, sys.stdout)

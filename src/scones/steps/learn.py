"""Learn: take recorded traffic of some days, which somebody knows to be sound, as what the monitor compares with."""

from dataclasses import dataclass

import numpy as np

from scones.aws.connection import Aws
from scones.domain.keys import features_prefix, learned_baseline_key
from scones.monitoring.drift.traffic import MAX_PHOTOS_KEPT, RecordedTraffic, learn_days
from scones.monitoring.performance.registered_model import open_model

# Twice as many as are learnt, so that days of little traffic are not thinned with the busy ones.
_MAX_READ = 2 * MAX_PHOTOS_KEPT
# At one an hour six weeks; what was seen before is not learnt from.
_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class LearnedDays:
    """How many photos of how many days are the baseline from now on; none where the photos of training are again."""

    photos: int
    days: int


def learn(aws: Aws, endpoint: str, model_uri: str, days: int, seed: int) -> LearnedDays:
    """Learn the last *days* days of the *endpoint*'s traffic, as looks have measured it; 0 forgets what was learnt.

    Raises:
        TooFewDays: fewer than five days of the model's traffic are there; nothing changes.
    """
    deployed = open_model(aws.bucket.get(aws.bucket.key(model_uri)))
    version = deployed.model_file.version
    key = learned_baseline_key(version)
    if not days:
        aws.bucket.remove([key])
        return LearnedDays(0, 0)
    files = list(aws.bucket.list(features_prefix(endpoint)))[-_MAX_RUNS:]
    most = max(1, _MAX_READ // max(1, len(files)))
    traffic = [
        RecordedTraffic.from_bytes(b"".join(pieces), aws.bucket.uri(item.key)).thinned(most)
        for item, pieces in aws.bucket.read_all(files)
        if pieces is not None
    ]
    found = learn_days(deployed.baseline, traffic, version, days, seed)
    aws.bucket.put(key, found.to_bytes())
    return LearnedDays(len(found.values), 0 if found.days is None else len(np.unique(found.days)))

"""Asking: put many photos to a model, behind its endpoint or in this process, and read what it says of them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.domain.tags import evaluation_id

_BATCH = 64

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Said(NamedTuple):
    """What a model said of N photos: *probabilities* [N, C], and *unfamiliarity* [N] if it has a guard."""

    probabilities: Floats
    unfamiliarity: Floats | None


Ask = Callable[[Sequence[bytes]], Said]
"""Ask a model about encoded photos."""
Explain = Callable[[str, bytes, str], bytes]
"""Send an endpoint, by its name, a photo with an inference id; gives the long form of its answer, as JSON."""
Progress = Callable[[int, int, str], None]


def asking_endpoint(explain: Explain, endpoint: str, clients: int, progress: Progress = lambda *_: None) -> Ask:
    """Ask an endpoint, so many *clients* side by side; its monitor passes these questions over."""

    def ask_one(photo: bytes) -> dict[str, object]:
        mark = evaluation_id(hashlib.sha256(photo).hexdigest())
        answer: dict[str, object] = json.loads(explain(endpoint, photo, mark))
        return answer

    def ask(photos: Sequence[bytes]) -> Said:
        answers = []
        with ThreadPoolExecutor(clients) as pool:
            for answer in pool.map(ask_one, photos):
                answers.append(answer)
                progress(len(answers), len(photos), "photos evaluated")
        table = np.array([answer["probabilities"] for answer in answers], np.float64)
        scores = [answer.get("unfamiliarity") for answer in answers]
        return Said(table, None if None in scores else np.array(scores, np.float64))

    return ask


def asking_model(answer: Callable[[Pixels], NDArray[np.floating]], classes: int, size: int) -> Ask:
    """Ask a model in this process: *answer* turns uint8 [N, size, size, 3] into [N, C], or [N, C + 1] with a guard."""

    def ask(photos: Sequence[bytes]) -> Said:
        batches = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
        table = np.concatenate([answer(decoded(batch, size)) for batch in batches]).astype(np.float64)
        return Said(table[:, :classes], table[:, classes] if table.shape[1] > classes else None)

    return ask


def decoded(photos: Sequence[bytes], size: int) -> Pixels:
    """Decode photos as a model sees them, uint8 [N, size, size, 3]."""
    return np.stack([decode(photo, size) for photo in photos])

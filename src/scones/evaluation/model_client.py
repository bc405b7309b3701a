"""Model client: classify many photos with a model, behind its endpoint or in this process."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.domain.naming import evaluation_id

_BATCH = 64

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


class ModelOutput(NamedTuple):
    """A model's output for N photos: *probabilities* [N, C], and *ood_scores* [N] if it has an OOD detector."""

    probabilities: Floats
    ood_scores: Floats | None


Predict = Callable[[Sequence[bytes]], ModelOutput]
"""Classify encoded photos."""
InvokeEndpoint = Callable[[str, bytes, str], bytes]
"""Send a photo with an inference id to an endpoint, by its name; gives the detailed response, as JSON."""
Progress = Callable[[int, int, str], None]


def endpoint_predictor(invoke: InvokeEndpoint, endpoint: str, clients: int, progress: Progress) -> Predict:
    """Classify with an endpoint, *clients* photos at a time; monitoring ignores these requests."""

    def predict_one(photo: bytes) -> dict[str, object]:
        response: dict[str, object] = json.loads(
            invoke(endpoint, photo, evaluation_id(hashlib.sha256(photo).hexdigest()))
        )
        return response

    def predict(photos: Sequence[bytes]) -> ModelOutput:
        responses = []
        with ThreadPoolExecutor(clients) as pool:
            for response in pool.map(predict_one, photos):
                responses.append(response)
                progress(len(responses), len(photos), "photos evaluated")
        table = np.array([response["probabilities"] for response in responses], np.float64)
        scores = [response.get("unfamiliarity") for response in responses]
        return ModelOutput(table, None if None in scores else np.array(scores, np.float64))

    return predict


def model_predictor(answer: Callable[[Pixels], NDArray[np.floating]], classes: int, size: int) -> Predict:
    """Classify in this process: *answer* turns uint8 [N, size, size, 3] into [N, C], or [N, C + 1] with OOD scores."""

    def predict(photos: Sequence[bytes]) -> ModelOutput:
        batches = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
        table = np.concatenate([answer(decode_photos(batch, size)) for batch in batches]).astype(np.float64)
        return ModelOutput(table[:, :classes], table[:, classes] if table.shape[1] > classes else None)

    return predict


def decode_photos(photos: Sequence[bytes], size: int) -> Pixels:
    """Decode photos as a model sees them, uint8 [N, size, size, 3]."""
    return np.stack([decode(photo, size) for photo in photos])

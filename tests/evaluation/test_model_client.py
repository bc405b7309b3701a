"""A model is called in the same way behind its endpoint and in this process."""

import json
from typing import NoReturn

import numpy as np
import pytest

from scones.data.decode import decode
from scones.domain.naming import is_internal
from scones.evaluation.model_client import PredictionFailed, endpoint_predictor, model_predictor
from tiny_model import plain_photo

LEVELS = [10, 250, 128]


def test_an_endpoint_classifies_the_photos_in_order() -> None:
    """Monitoring can tell these requests from traffic, and progress is reported photo by photo."""
    marks, reported = [], []

    def invoke(endpoint: str, photo: bytes, mark: str) -> bytes:
        marks.append((endpoint, mark))
        level = float(decode(photo, 32).mean())
        return json.dumps({"probabilities": [1 - level / 255, level / 255], "unfamiliarity": level}).encode()

    predict = endpoint_predictor(invoke, "scones-test", 2, lambda *words: reported.append(words))
    output = predict([plain_photo(level) for level in LEVELS])
    assert output.probabilities[:, 1] == pytest.approx(np.array(LEVELS) / 255)
    assert output.ood_scores == pytest.approx(LEVELS)
    assert all(is_internal(mark) and endpoint == "scones-test" for endpoint, mark in marks)
    assert reported[-1] == (3, 3, "photos evaluated")


def test_a_model_that_fails_on_a_photo_is_one_error() -> None:
    """Whatever its runtime raises; a deployment goes on without the comparison."""

    def answer(_: object) -> NoReturn:
        raise ValueError("indices out of bounds")

    with pytest.raises(PredictionFailed, match=r"the model fails on a photo.*indices out of bounds"):
        model_predictor(answer, 2, 32)([plain_photo(10)])


def test_a_model_without_a_detector_gives_no_ood_scores() -> None:
    """Neither in this process nor behind an endpoint."""
    photos = [plain_photo(level) for level in LEVELS * 30]
    output = model_predictor(lambda pixels: np.full((len(pixels), 2), 0.5), 2, 32)(photos)
    assert (output.probabilities.shape, output.ood_scores) == ((90, 2), None)
    guarded = model_predictor(lambda pixels: np.full((len(pixels), 3), 0.5), 2, 32)(photos)
    assert guarded.ood_scores is not None
    assert guarded.ood_scores.shape == (90,)
    predict = endpoint_predictor(lambda *_: b'{"probabilities": [1, 0]}', "e", 1, lambda *_: None)
    assert predict(photos[:2]).ood_scores is None

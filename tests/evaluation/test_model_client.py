"""A model is asked the same way behind its endpoint and in this process."""

import json

import numpy as np
import pytest

from scones.data.decode import decode
from scones.domain.tags import is_internal
from scones.evaluation.model_client import asking_endpoint, asking_model
from tiny_model import plain_photo

LEVELS = [10, 250, 128]


def test_an_endpoint_is_asked_about_each_photo_in_order() -> None:
    """Its monitor can tell the questions from traffic, and progress is told photo by photo."""
    marks, told = [], []

    def explain(endpoint: str, photo: bytes, mark: str) -> bytes:
        marks.append((endpoint, mark))
        level = float(decode(photo, 32).mean())
        return json.dumps({"probabilities": [1 - level / 255, level / 255], "unfamiliarity": level}).encode()

    ask = asking_endpoint(explain, "scones-test", 2, lambda *words: told.append(words))
    said = ask([plain_photo(level) for level in LEVELS])
    assert said.probabilities[:, 1] == pytest.approx(np.array(LEVELS) / 255)
    assert said.unfamiliarity == pytest.approx(LEVELS)
    assert all(is_internal(mark) and endpoint == "scones-test" for endpoint, mark in marks)
    assert told[-1] == (3, 3, "photos evaluated")


def test_a_model_without_a_guard_says_nothing_of_unfamiliarity() -> None:
    """Neither in this process nor behind an endpoint."""
    photos = [plain_photo(level) for level in LEVELS * 30]
    said = asking_model(lambda pixels: np.full((len(pixels), 2), 0.5), 2, 32)(photos)
    assert (said.probabilities.shape, said.unfamiliarity) == ((90, 2), None)
    guarded = asking_model(lambda pixels: np.full((len(pixels), 3), 0.5), 2, 32)(photos)
    assert guarded.unfamiliarity is not None
    assert guarded.unfamiliarity.shape == (90,)
    assert asking_endpoint(lambda *_: b'{"probabilities": [1, 0]}', "e", 1)(photos[:2]).unfamiliarity is None

"""Answers are written as the client accepts them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.serving.responses import ModelInfo, Response, prediction

CLASSES = ("bicycle", "motorcycle")


def reply(accept: bytes, *rows: list[float], many: bool = False) -> Response:
    """Answer for two classes."""
    return prediction(accept, rows, ModelInfo(CLASSES, "0123456789ab", None), many=many)


@pytest.mark.parametrize("accept", [b"", b"*/*", b"application/json", b"text/html", b"application/json;verbose=false"])
def test_the_plain_answer_is_a_list(accept: bytes) -> None:
    """Also for a client that asks for what we do not have."""
    assert reply(accept, [0.25, 0.75]).body == b"[0.25, 0.75]"
    assert json.loads(reply(accept, [0.25, 0.75], [1, 0], many=True).body) == [[0.25, 0.75], [1, 0]]
    assert json.loads(reply(accept, [0.25, 0.75], many=True).body) == [[0.25, 0.75]]


def test_json_lines_are_one_object_a_photo() -> None:
    """As SageMaker's built-in classifier writes them."""
    found = reply(b"application/jsonlines; charset=utf-8", [0.25, 0.75], [1, 0], many=True)
    assert found.body == b'{"prediction": [0.25, 0.75]}\n{"prediction": [1, 0]}\n'
    assert found.content_type == b"application/jsonlines"


@pytest.mark.parametrize("accept", [b"application/json;verbose=true", b"application/json; verbose"])
def test_verbose_answers_explain(accept: bytes) -> None:
    """One photo gets one object, many get a list."""
    one = json.loads(reply(accept, [0.25, 0.75]).body)
    assert one == {
        "label": "motorcycle",
        "confidence": 0.75,
        "probabilities": [0.25, 0.75],
        "classes": ["bicycle", "motorcycle"],
        "model_version": "0123456789ab",
    }
    assert json.loads(reply(accept, [0.25, 0.75], many=True).body) == [one]


def test_only_verbose_answers_tell_how_unfamiliar_a_photo_is() -> None:
    """Whoever expects two probabilities gets two; whoever asks for more is told whether the photo is of any class."""
    info = ModelInfo(CLASSES, "0123456789ab", unfamiliar_above=1.5)
    rows = [[0.25, 0.75, 1.25], [0.25, 0.75, 2]]
    assert prediction(b"", rows, info, many=True).body == b"[[0.25, 0.75], [0.25, 0.75]]"
    lines = prediction(b"application/jsonlines", rows, info, many=True).body
    assert lines == b'{"prediction": [0.25, 0.75]}\n' * 2
    found = json.loads(prediction(b"application/json;verbose=true", rows, info, many=True).body)
    assert [(one["unfamiliarity"], one["unfamiliar"]) for one in found] == [(1.25, False), (2, True)]
    assert found[0]["probabilities"] == [0.25, 0.75]


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2))
def test_no_digit_is_lost(row: list[float]) -> None:
    """The float32 that the model computed comes back exactly."""
    assert np.array_equal(np.array(json.loads(reply(b"", row).body), np.float32), np.array(row, np.float32))

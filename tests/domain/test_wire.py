"""Each form of a request and of a response that the endpoint documents is read back as it was written."""

import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.domain.wire import (
    RAW_TYPES,
    BadAnswer,
    InvalidRequest,
    ModelInfo,
    read_answers,
    read_base64,
    read_request,
    write_answers,
    write_request,
)

MODEL = ModelInfo(("bicycle", "motorcycle"), "v1", None)
GUARDED = ModelInfo(("bicycle", "motorcycle"), "v1", 3.5)
ACCEPTS = [b"", b"*/*", b"application/json", b"application/json;verbose=true", b"application/jsonlines", b"text/csv"]
DOCS = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()

photos = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5)
shares = st.floats(0, 1, width=32)
rows = st.lists(st.tuples(shares, shares, st.floats(0, 100, width=32)), min_size=1, max_size=5)


@given(photos)
def test_a_request_that_is_written_is_read(some: list[bytes]) -> None:
    """One photo as it is, several in JSON."""
    content_type, body = write_request(some)
    assert read_request(content_type.encode(), body) == (some, len(some) > 1)


@pytest.mark.parametrize("content_type", sorted(RAW_TYPES))
def test_a_raw_photo_is_one_photo(content_type: bytes) -> None:
    """In every content type for photos, with parameters or in capitals too."""
    for header in (content_type, content_type.upper(), content_type + b"; q=1" if content_type else b""):
        assert read_request(header, b"photo") == ([b"photo"], False)


@pytest.mark.parametrize("text", ["cGhvdG8=", "cGhv\r\ndG8=\n", "data:image/png;base64,cGhvdG8="])
def test_json_holds_a_photo_or_a_list_of_them(text: str) -> None:
    """The object, the list or the text alone, and base64 in each usual form."""
    for value, many in (({"photo": text}, False), (text, False), ({"photos": [text]}, True), ([text], True)):
        assert read_request(b"application/json; charset=utf-8", json.dumps(value).encode()) == ([b"photo"], many)


@given(rows, st.sampled_from(ACCEPTS), st.booleans(), st.booleans())
def test_an_answer_that_is_written_is_read(
    some: list[tuple[float, ...]], accept: bytes, guarded: bool, many: bool
) -> None:
    """The same probabilities to nine digits, photo by photo, and what a verbose one says besides."""
    asked = some if many else some[:1]
    _, body = write_answers(accept, asked, GUARDED if guarded else MODEL, many=many)
    answers = read_answers(body)
    assert [answer["probabilities"] for answer in answers] == [pytest.approx(row[:2], rel=1e-8) for row in asked]
    verbose = b"verbose" in accept
    assert all(("label" in answer, "unfamiliar" in answer) == (verbose, verbose and guarded) for answer in answers)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[0.8, 0.2]", [[0.8, 0.2]]),
        (b"[[0.8, 0.2]]", [[0.8, 0.2]]),
        (b"[[0.8, 0.2], [1, 0]]", [[0.8, 0.2], [1, 0]]),
        (b"0.8,0.2\n", [[0.8, 0.2]]),
        (b"0.8,0.2\r\n1,0\r\n", [[0.8, 0.2], [1, 0]]),
        (b'{"prediction": [0.8, 0.2]}', [[0.8, 0.2]]),
        (b'{"prediction": [0.8, 0.2]}\n{"prediction": [1, 0]}\n', [[0.8, 0.2], [1, 0]]),
        (b"[0.8, 0.2]\n[1, 0]", [[0.8, 0.2], [1, 0]]),
        (b'[{"probabilities": [1, 0], "label": "bicycle"}]', [[1, 0]]),
    ],
)
def test_each_form_of_an_answer_is_read(body: bytes, found: list[list[float]]) -> None:
    """JSON, JSON Lines and CSV, of one photo and of several."""
    assert [answer["probabilities"] for answer in read_answers(body)] == found


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"[" * 100_000))
def test_any_other_body_is_refused_by_name(body: bytes) -> None:
    """No body, however odd, raises anything else, and what is read are probabilities."""
    try:
        answers = read_answers(body)
    except BadAnswer:
        answers = []
    assert all(0 <= share <= 1 for answer in answers for share in answer["probabilities"])
    try:
        found, _ = read_request(b"application/json", body, 3)
    except InvalidRequest:
        found = [b""]
    assert 1 <= len(found) <= 3


@given(st.binary(max_size=90))
def test_base64_survives_line_ends_and_a_data_url(photo: bytes) -> None:
    """As a program writes it, and as e-mail and browsers do."""
    plain = base64.b64encode(photo).decode()
    for text in (plain, base64.encodebytes(photo).decode(), f"data:image/jpeg;base64,{plain}"):
        assert read_base64(text) == photo


def test_the_documentation_lists_the_forms_that_are_read() -> None:
    """docs/serving.md names each form; each that it names is one of these tests' forms."""
    for form in ('{"photo": "<base64>"}', '{"photos": ["<base64>", ...]}', "application/jsonlines", "verbose=true"):
        assert form in DOCS
    named = {name.encode() for name in re.findall(r"`((?:application|image)/[\w-]+)`", DOCS)}
    assert named <= RAW_TYPES | {b"application/json", b"application/jsonlines"}

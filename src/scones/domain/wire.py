"""Wire: the requests and responses of the endpoint, written and read in every form that docs/serving.md lists.

The server, the workflow's functions, evaluation and the monitor all use this module, so each form that one of them
writes the others can read.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scones.domain.decision import decide
from scones.domain.errors import ServingError, WorkflowError

JSON: Final = b"application/json"
JSON_LINES: Final = b"application/jsonlines"
RAW_TYPES: Final = frozenset(
    (b"application/x-image", b"image/png", b"image/jpeg", b"image/webp", b"application/octet-stream", b"")
)
"""Content types whose body is one photo; what kind of photo, its own first bytes say."""

# The documented forms have two; millions would take seconds to read.
_MAX_BRACKETS: Final = 1000

Rows = Sequence[Sequence[float]]
Answer = dict[str, Any]
"""The answer to one photo: its `probabilities`, and of a verbose response the other fields."""


class InvalidRequest(ServingError):
    """A body that holds no photos: *error* is a short name for programs, *reason* a sentence for people."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason


class BadAnswer(WorkflowError):
    """The endpoint's answer is not in the expected form."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What responses say of the model; *unfamiliar_above* is None for a model without a guard."""

    classes: Sequence[str]
    version: str
    unfamiliar_above: float | None


def media_type(header: bytes) -> bytes:
    """Return a header's media type in lower case, without its parameters."""
    return header.partition(b";")[0].strip().lower()


def read_base64(text: str) -> bytes:
    """Decode base64, with or without line ends, or a data URL with it, as browsers write them.

    Raises:
        ValueError: it is neither.
    """
    data = text.encode("ascii").translate(None, b" \t\r\n")
    if data[:5].lower() == b"data:":
        head, _, data = data.partition(b",")
        if not head.lower().endswith(b";base64"):
            raise ValueError("a data URL that is not in base64")
    return base64.b64decode(data, validate=True)


def write_request(photos: Sequence[bytes]) -> tuple[str, bytes]:
    """Write a request about *photos*: its content type and its body."""
    if len(photos) == 1:
        return "application/x-image", photos[0]
    texts = [base64.b64encode(photo).decode("ascii") for photo in photos]
    return JSON.decode("ascii"), json.dumps({"photos": texts}).encode("ascii")


def read_request(content_type: bytes, body: bytes, max_photos: int | None = None) -> tuple[list[bytes], bool]:
    """Return the photos in *body*, undecoded; the flag says that the request has a list of them.

    Raises:
        InvalidRequest: no photo, JSON of another form, text that is not in base64, or more than *max_photos*.
    """
    if not body:
        raise InvalidRequest(400, "empty_body", "the body is empty; send one photo")
    if media_type(content_type) != JSON:
        return [body], False
    texts, many = _texts(body)
    if not texts:
        raise InvalidRequest(400, "no_photos", "the list of photos is empty")
    if max_photos is not None and len(texts) > max_photos:
        reason = f"{len(texts)} photos in one request; the limit is {max_photos}"
        raise InvalidRequest(413, "too_many_photos", reason)
    return [_photo(text, photo_name(index, many=many)) for index, text in enumerate(texts)], many


def photo_name(index: int, *, many: bool) -> str:
    """How messages name a photo of a request."""
    return f"photo {index}" if many else "the photo"


def _texts(body: bytes) -> tuple[Sequence[object], bool]:
    """Find the base64 texts in `"..."`, `["...", ...]`, `{"photo": "..."}` or `{"photos": [...]}`."""
    if body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise InvalidRequest(400, "bad_json", "the JSON has too many lists and objects")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(400, "bad_json", "the body is no JSON") from error
    if isinstance(value, dict):
        value = value.get("photos", value.get("photo"))
    if isinstance(value, str):
        return [value], False
    if isinstance(value, list):
        return value, True
    reason = 'the JSON must be {"photo": "<base64>"} or {"photos": ["<base64>", ...]}'
    raise InvalidRequest(400, "bad_json", reason)


def _photo(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidRequest(400, "bad_json", f"{name} is no text in base64")
    try:
        return read_base64(text)
    except ValueError as error:
        raise InvalidRequest(400, "bad_base64", f"{name} is not in base64") from error


def wants_explanation(accept: bytes) -> bool:
    """Tell whether a client asks why, as by `application/json;verbose=true;explain=true`."""
    return b"explain=true" in accept.lower() and media_type(accept) == JSON


def write_answers(
    accept: bytes, rows: Rows, model: ModelInfo, *, many: bool, explanations: Sequence[Answer] = ()
) -> tuple[bytes, bytes]:
    """Write the probabilities, one row per photo, as *accept* asks: the content type and the body.

    With *explanations*, one per photo, the response is verbose. Anything unknown is answered in plain JSON. A row's
    last number, if the model has a guard, is the photo's unfamiliarity; only verbose responses include it. SageMaker's
    built-in classifier responds with a plain list too, so its clients work unchanged.
    """
    count = len(model.classes)
    plain = [row[:count] for row in rows]
    if accept in _PLAIN:
        return JSON, _plain(plain, many=many)
    if media_type(accept) == JSON_LINES:
        return JSON_LINES, b"".join(b'{"prediction": %b}\n' % _numbers(row) for row in plain)
    if explanations or (b"verbose" in accept.lower() and b"verbose=false" not in accept.lower()):
        found = [dict(_verbose(row, model)) for row in rows]
        for answer, explanation in zip(found, explanations, strict=False):
            answer["explanation"] = explanation
        return JSON, json.dumps(found if many else found[0]).encode("utf-8")
    return JSON, _plain(plain, many=many)


_PLAIN: Final = frozenset((b"", b"*/*", JSON))


def _plain(rows: Rows, *, many: bool) -> bytes:
    return b"[%b]" % b", ".join(map(_numbers, rows)) if many else _numbers(rows[0])


def _numbers(row: Sequence[float]) -> bytes:
    # Nine digits give a float32 back exactly.
    return b"[%b]" % b", ".join([b"%.9g" % probability for probability in row])


def _verbose(row: Sequence[float], model: ModelInfo) -> Iterator[tuple[str, object]]:
    probabilities = row[: len(model.classes)]
    decision = decide(probabilities, model.classes)
    yield "label", decision.label
    yield "confidence", _short(decision.confidence)
    yield "probabilities", [_short(probability) for probability in probabilities]
    yield "classes", list(model.classes)
    yield "model_version", model.version
    if model.unfamiliar_above is not None:
        yield "unfamiliarity", _short(row[-1])
        yield "unfamiliar", row[-1] > model.unfamiliar_above


def _short(probability: float) -> float:
    return float(f"{probability:.9g}")


def read_answers(body: bytes) -> list[Answer]:
    """Read a response in any form: one answer per photo.

    Besides what `write_answers` writes, it reads comma-separated numbers, a line a photo, as SageMaker's built-in
    algorithms write them.

    Raises:
        BadAnswer: something else, or a number that is no probability.
    """
    text = body.decode("utf-8", errors="replace").strip()
    try:
        return [_answer(value) for value in _values(text)]
    except (ValueError, RecursionError) as error:
        raise BadAnswer("the output is not a list of probabilities between 0 and 1") from error


def _values(text: str) -> list[object]:
    """The part of a response about each photo."""
    lines = text.split("\n")
    if not text.startswith(("[", "{")):
        return [json.loads(f"[{line}]") for line in lines]
    try:
        whole = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in lines]
    return whole if isinstance(whole, list) and whole and isinstance(whole[0], list | dict) else [whole]


def _answer(value: object) -> Answer:
    found: Answer = value if isinstance(value, dict) else {"probabilities": value}
    numbers = found.get("probabilities", found.get("prediction"))
    if not isinstance(numbers, list) or not numbers or not all(_is_probability(number) for number in numbers):
        raise ValueError("no probabilities")
    return {**found, "probabilities": numbers}


def _is_probability(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1

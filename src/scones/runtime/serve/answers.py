"""Answers: probabilities in the form that the client accepts."""

import json
from collections.abc import Sequence
from typing import Final

from scones.runtime.serve.messages import JSON, Reply
from scones.runtime.serve.photos import media_type
from scones.vehicles import decide

JSON_LINES: Final = b"application/jsonlines"

Rows = Sequence[Sequence[float]]


def answer(accept: bytes, rows: Rows, *, many: bool, classes: Sequence[str], version: str) -> Reply:
    """Write the probabilities, one row a photo, as *accept* asks; plain JSON if it asks for anything unknown.

    SageMaker's built-in classifier answers a plain list too, so its clients work unchanged.
    """
    if accept in _PLAIN:
        return Reply(200, _plain(rows, many=many))
    if media_type(accept) == JSON_LINES:
        lines = b"".join(b'{"prediction": %b}\n' % _numbers(row) for row in rows)
        return Reply(200, lines, JSON_LINES)
    if b"verbose" in accept.lower() and b"verbose=false" not in accept.lower():
        found = [_explain(row, classes, version) for row in rows]
        return Reply(200, json.dumps(found if many else found[0]).encode("utf-8"))
    return Reply(200, _plain(rows, many=many))


_PLAIN: Final = frozenset((b"", b"*/*", JSON))


def _plain(rows: Rows, *, many: bool) -> bytes:
    return b"[%b]" % b", ".join(map(_numbers, rows)) if many else _numbers(rows[0])


def _numbers(row: Sequence[float]) -> bytes:
    # Nine digits give a float32 back exactly.
    return b"[%b]" % b", ".join([b"%.9g" % probability for probability in row])


def _explain(row: Sequence[float], classes: Sequence[str], version: str) -> dict[str, object]:
    decision = decide(row, classes)
    return {
        "label": decision.label,
        "confidence": _short(decision.confidence),
        "probabilities": [_short(probability) for probability in row],
        "classes": list(classes),
        "model_version": version,
    }


def _short(probability: float) -> float:
    return float(f"{probability:.9g}")

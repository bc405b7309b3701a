"""Answers: probabilities in the form that the client accepts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scones.domain.decision import decide
from scones.serving.image_input import media_type
from scones.serving.messages import JSON, Reply

JSON_LINES: Final = b"application/jsonlines"

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class About:
    """What answers say of the model; *unfamiliar_above* is None for a model without a guard."""

    classes: Sequence[str]
    version: str
    unfamiliar_above: float | None


def answer(accept: bytes, rows: Rows, about: About, *, many: bool) -> Reply:
    """Write the probabilities, one row a photo, as *accept* asks; plain JSON if it asks for anything unknown.

    A row's further number, if the model has a guard, is the photo's unfamiliarity; only verbose answers tell it.
    SageMaker's built-in classifier answers a plain list too, so its clients work unchanged.
    """
    count = len(about.classes)
    plain = [row[:count] for row in rows]
    if accept in _PLAIN:
        return Reply(200, _plain(plain, many=many))
    if media_type(accept) == JSON_LINES:
        lines = b"".join(b'{"prediction": %b}\n' % _numbers(row) for row in plain)
        return Reply(200, lines, JSON_LINES)
    if b"verbose" in accept.lower() and b"verbose=false" not in accept.lower():
        found = [_explain(row, about) for row in rows]
        return Reply(200, json.dumps(found if many else found[0]).encode("utf-8"))
    return Reply(200, _plain(plain, many=many))


_PLAIN: Final = frozenset((b"", b"*/*", JSON))


def _plain(rows: Rows, *, many: bool) -> bytes:
    return b"[%b]" % b", ".join(map(_numbers, rows)) if many else _numbers(rows[0])


def _numbers(row: Sequence[float]) -> bytes:
    # Nine digits give a float32 back exactly.
    return b"[%b]" % b", ".join([b"%.9g" % probability for probability in row])


def _explain(row: Sequence[float], about: About) -> dict[str, object]:
    probabilities = row[: len(about.classes)]
    decision = decide(probabilities, about.classes)
    found: dict[str, object] = {
        "label": decision.label,
        "confidence": _short(decision.confidence),
        "probabilities": [_short(probability) for probability in probabilities],
        "classes": list(about.classes),
        "model_version": about.version,
    }
    if about.unfamiliar_above is not None:
        found |= {"unfamiliarity": _short(row[-1]), "unfamiliar": row[-1] > about.unfamiliar_above}
    return found


def _short(probability: float) -> float:
    return float(f"{probability:.9g}")

"""Render: the result of a command as a few lines of text; the lines of each result are in the three modules beside."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from scones.cli import environment_lines, model_lines, photo_lines
from scones.domain.progress import verbose
from scones.domain.text import printable, spaced


def render(result: object) -> str:
    """Return the *result* of a command as lines of text; a type without a function of its own shows its fields."""
    lines = _LINES.get(type(result).__name__, _fields)
    return "\n".join(map(printable, lines(result)))


def _fields(result: object) -> Iterable[str]:
    """Each field on a line; no value as Python writes it."""
    for name, value in _pairs(result):
        yield f"{spaced(name)}: {_words(value)}"


def _pairs(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(str(name), each) for name, each in value.items()]
    return [(name, getattr(value, name)) for name in getattr(type(value), "__dataclass_fields__", ())]


def _words(value: object) -> str:
    if value is None or (isinstance(value, str | list | tuple | set | frozenset | Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_words, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError):
            return _words(json.loads(value))
    if pairs := _pairs(value):
        return ", ".join(f"{spaced(name).replace('-', ' ')} {_words(each)}" for name, each in pairs)
    return str(value)


_LINES: dict[str, Callable[[Any], Iterable[str]]] = {
    "ModelComparison": lambda result: result.lines(),
    "LogLines": lambda result: result.text(whole=verbose.get()),
    "StageResult": lambda result: result.lines(),
    **model_lines.LINES,
    **photo_lines.LINES,
    **environment_lines.LINES,
}

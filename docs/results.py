"""What each verb prints with `--json`, read from the classes of its results; `make docs` writes docs/results.md."""

import ast
import datetime
import enum
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from scones import operations, pipeline
from scones.cli.demo import DemoResult
from scones.deployment.pricing import BatchPlan, CostTable, Estimate
from scones.pipeline import Pipeline

_VERBS = {
    "stage": Pipeline.stage,
    "image": Pipeline.image,
    "train": Pipeline.train,
    "models": Pipeline.models,
    "compare": Pipeline.compare,
    "approve": Pipeline.approve,
    "up": Pipeline.up,
    "deploy": Pipeline.deploy,
    "releases": Pipeline.releases,
    "rollback": Pipeline.rollback,
    "classify": Pipeline.classify,
    "classify FOLDER": Pipeline.classify_batch,
    "replay EXECUTION": Pipeline.replay,
    "replay --model, --threshold": Pipeline.rejudge,
    "evaluate": Pipeline.evaluate,
    "monitor": Pipeline.monitor,
    "review list, count": Pipeline.reviews,
    "review answer, withdraw": Pipeline.answer,
    "review skip": Pipeline.skip_review,
    "review corrections": Pipeline.corrections,
    "review correct, withdraw --correction": Pipeline.correct,
    "review export": Pipeline.export_reviews,
    "review import": Pipeline.import_labels,
    "labels export": Pipeline.export_labels,
    "open": Pipeline.open,
    "dispatch": Pipeline.dispatch,
    "simulate": Pipeline.simulate,
    "logs": Pipeline.logs,
    "status": Pipeline.status,
    "down": Pipeline.down,
}
_OTHERS = {"classify --plan": BatchPlan, "cost": CostTable, "cost with options": Estimate, "demo": DemoResult}
_PLAIN = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    datetime.datetime: "time, ISO 8601",
    types.NoneType: "null",
}

HEAD = """\
# What `--json` prints

With `--json` a command prints one JSON object on stdout; messages for people go to stderr. New fields may be added;
the changelog announces changed or removed ones. `[]` is an element of a list, `{}` a value of a mapping. A command
that fails prints no object, except `evaluate --gate`, `replay` and `down`: they print their result and exit with
status 1. `local up` and `local status` print `endpoint_url`, `state` and `pid`, the latter also `running`;
`local down` prints `stopped`; `local env` prints the variables.

In Python a command returns the same as an object, whose parts have these names: `result.to_pandas("gate")` is a data
frame of what is below `gate[]` here, and `result.plot("curve", "coverage", "risk")` draws one column by another. A
notebook shows a result as a short table. `to_pandas` needs the extra `pandas`.
"""


def page() -> str:
    """Give the whole page."""
    names = _imported_names()
    hints = {verb: typing.get_type_hints(method, localns=names) for verb, method in _VERBS.items()}
    found = {verb: hint["return"] for verb, hint in hints.items()} | _OTHERS
    parts = [HEAD]
    for verb, result in found.items():
        rows = list(_rows("", result))
        width = max(len(name) for name, _ in rows)
        words = inspect.cleandoc(result.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        lines = "\n".join(f"{name:<{width}}  {kind}" for name, kind in rows)
        parts.append(f"## scones {verb}\n\n{words}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def _imported_names() -> dict[str, object]:
    """What the annotations of the steps' methods name, which are imported only for the type checker."""
    trees = [ast.parse(inspect.getsource(module)) for module in (pipeline, operations)]
    imports = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {
        alias.name: getattr(importlib.import_module(node.module or ""), alias.name)
        for node in imports
        for alias in node.names
    }


def _rows(name: str, kind: object) -> Iterator[tuple[str, str]]:
    """Yield each field below *kind*, by its full name, with what it holds."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            yield from _rows(f"{name}.{field.name}" if name else field.name, hints[field.name])
    elif origin in (typing.Union, types.UnionType):
        parts = [part for part in arguments if part is not types.NoneType]
        if is_dataclass(parts[0]):
            yield name, "null, or the following"
            yield from _rows(name, parts[0])
        else:
            yield name, ", or ".join(_words(part) for part in (*parts, types.NoneType))
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _rows(f"{name}{{}}", arguments[1])
    elif origin is tuple and arguments[-1] is not Ellipsis:
        yield name, f"list of {len(arguments)}: " + ", ".join(_words(part) for part in arguments)
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        yield from _rows(f"{name}[]", arguments[0])
    else:
        yield name, _words(kind)


def _words(kind: object) -> str:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(str(item.value) for item in kind)
    if isinstance(kind, type) and issubclass(kind, tuple):
        return "list of " + ", ".join(kind._fields)  # type: ignore[attr-defined]
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    return _PLAIN.get(kind, "anything")  # type: ignore[call-overload, no-any-return]

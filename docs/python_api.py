"""The pages of the Python interface and of the errors, read from the classes while the site is built."""

import ast
import inspect
import re
import runpy
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

import scones
from scones.aws.client import NEXT_STEPS as AWS_NEXT_STEPS
from scones.cli.session import Scones
from scones.domain.result import StepResult
from scones.model.prediction import predict
from scones.retraining import PythonPipeline

HEAD = """\
# Python

```python
from scones import Scones

with Scones(env="dev", data="path/to/photos") as pipeline:
    staged = pipeline.stage()
    print(staged.train, "photos to learn from, version", staged.version)
    print(pipeline.status().resources)
```

`pipeline` has the commands as methods. A *path* is a string or a `Path`. As on the command line, an environment that
has a local cloud uses it, and others use AWS. It works in a notebook, too.

Every error that is raised on purpose is a `SconesError`, whose message says what to do: [errors](errors.md). A failed
call of AWS is one of them; botocore's own traceback is not shown.
"""
RESULTS = """\
## Results

A notebook shows a result as a short table. [results.md](results.md) has the fields of each.
"""
ERRORS = """\
# Errors

Each message is one line: what failed, which one, and what to do next. The command line prints it and exits with
[status 1](cli.md); in Python it is an exception of the class named here. The classes below a heading descend from its
class, and all from `SconesError`. Words in braces stand for what differs from case to case: to find a message, search
this page for words that would not. Anything else that ends a command is a defect: its traceback is shown.

The endpoint's server [refuses requests](serving.md#requests-and-responses) with short names, and monitoring leaves out
[records](watching.md#records-that-are-not-used) for reasons of a few words.
"""
NEXT_STEPS = """\
What the message of a refused call says to do, by AWS's code:

| code | next step |
|---|---|
"""


def pages() -> dict[str, str]:
    """Give each page's name and text."""
    return {"python.md": "\n".join(_python()), "errors.md": "\n".join(_errors())}


def _python() -> Iterator[str]:
    yield HEAD
    yield f"## Scones\n\n`Scones{_signature(Scones.__init__)}`\n\n{_words(Scones)}\n"
    yield f"## predict\n\n`scones.predict{_signature(predict)}`\n\n{_words(predict)}\n"
    yield "## The methods of the pipeline\n"
    methods = [item for kind in PythonPipeline.__mro__ for item in vars(kind).items() if inspect.isfunction(item[1])]
    for name, method in methods:
        if not name.startswith("_"):
            yield f"### {name}\n\n`{name}{_signature(method)}`\n\n{_words(method)}\n"
    yield RESULTS
    for name in ("to_pandas", "plot"):
        method = getattr(StepResult, name)
        yield f"### {name}\n\n`result.{name}{_signature(method)}`\n\n{_words(method)}\n"
    yield "| result | `to_pandas()` | `plot()` |\n|---|---|---|"
    for kind in sorted(_results(), key=lambda kind: kind.__name__):
        part, x, y = kind.FIGURE
        drawn = (f"`{y}` by `{x}`" if y else f"how often each `{x}`") + (f" of `{part}`" if part else "") if x else ""
        rows = f"`{kind.TABLE}`" if kind.TABLE else "each photo" if issubclass(kind, tuple) else "one row"
        yield f"| {kind.__name__} | {rows} | {drawn} |"
    yield ""


def _results() -> set[type[StepResult]]:
    """Every class of results that the pipeline's modules define."""
    runpy.run_path(str(Path(__file__).with_name("results.py")))["page"]()  # it imports what the pipeline returns
    # A dataclass with slots is made of a first class, which is still known.
    found = {kind.__name__: kind for kind in StepResult.__subclasses__() if kind.__module__.startswith("scones.")}
    return set(found.values())


def _errors() -> Iterator[str]:
    classes, messages = _error_classes(), _messages()
    yield ERRORS
    for name in sorted(name for name, (base, _) in classes.items() if base == "SconesError"):
        yield from _error("##", name, classes, messages)


def _error(level: str, name: str, classes: dict[str, tuple[str, str]], messages: dict[str, set[str]]) -> Iterator[str]:
    """A class with its messages, then those that descend from it."""
    yield f"{level} {name}\n\n{classes[name][1]}\n"
    if found := sorted(messages.get(name, ())):
        yield "\n".join(f"- `{message}`" for message in found) + "\n"
    if name == "AwsError":
        steps = sorted((step, code) for code, step in AWS_NEXT_STEPS.items())
        rows = [
            (", ".join(f"`{code}`" for _, code in codes), step) for step, codes in groupby(steps, lambda pair: pair[0])
        ]
        yield NEXT_STEPS + "\n".join(f"| {codes} | {step} |" for codes, step in rows) + "\n"
    for child in sorted(child for child, (base, _) in classes.items() if base == name):
        yield from _error("###", child, classes, messages)


@cache
def _trees() -> tuple[ast.Module, ...]:
    """The source of every module: some cannot be imported outside a function of AWS."""
    return tuple(ast.parse(path.read_text("utf-8")) for path in sorted(Path(scones.__file__).parent.rglob("*.py")))


@cache
def _constants() -> dict[str, str]:
    """The modules' constants that are words or numbers, but for names that mean one thing here and another there."""
    found: dict[str, set[str]] = {}
    for node in (node for tree in _trees() for node in tree.body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name):
            value = node.value.value if isinstance(node.value, ast.Constant) else ""
            found.setdefault(target.id, set()).add(f"{value:,}" if isinstance(value, int) else str(value))
    return {name: min(values) for name, values in found.items() if len(values) == 1 and all(values)}


def _error_classes() -> dict[str, tuple[str, str]]:
    """The base and the docstring of every class that descends from SconesError and leaves its module."""
    nodes = [node for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
    known, found = {"SconesError"}, dict[str, tuple[str, str]]()
    while left := [node for node in nodes if ast.unparse(node.bases[0]) in known and node.name not in known]:
        for node in left:
            known.add(node.name)
            found[node.name] = ast.unparse(node.bases[0]), ast.get_docstring(node) or ""
    return {name: about for name, about in found.items() if not name.startswith("_")}


def _messages() -> dict[str, set[str]]:
    """The messages of each class: what it says to its base, or what is said where it is made."""
    found: dict[str, set[str]] = {}
    for node in (node for tree in _trees() for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            said = [text for call in calls if ast.unparse(call.func) == "super().__init__" for text in _text(call, 1)]
            found.setdefault(node.name, set()).update(said)
        elif isinstance(node, ast.Raise | ast.Return):
            made = node.exc if isinstance(node, ast.Raise) else node.value
            if isinstance(made, ast.Call) and isinstance(made.func, ast.Name):
                found.setdefault(made.func.id, set()).update(_text(made))
    return found


def _text(call: ast.Call, min_words: int = 3) -> Iterator[str]:
    """The first argument as a message, if it is one, and not a name or a reason that the class completes."""
    if not call.args:
        return
    message = call.args[0]
    text = " ".join(_words_of(message).split()).replace("`", "'")
    if len(re.sub(r"\{[^}]*\}", "", text).split()) >= min_words:
        yield text


def _words_of(node: ast.expr) -> str:
    """A part of a message: its words, and in braces the names of values."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(map(_words_of, node.values))
        case ast.IfExp(body=ast.Constant() | ast.JoinedStr() as body):
            return _words_of(body)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return "".join(_words_of(part) or f"{{{_name_of(part)}}}" for part in (left, right))
        case ast.FormattedValue(value=ast.Name(id=constant)) if constant in _constants():
            return _constants()[constant]
        case ast.FormattedValue(
            value=ast.Call(func=ast.Name(id="plural"), args=[count, ast.Constant(value=str(noun)), *_])
        ):
            return f"{{{_name_of(count)}}} {noun}s"
        case ast.FormattedValue():
            inner = node.value
            plain = isinstance(inner, ast.IfExp) and isinstance(inner.body, ast.Constant | ast.JoinedStr)
            return _words_of(inner) if plain else f"{{{_name_of(inner)}}}"
    return ""


def _name_of(node: ast.expr) -> str:
    """What a value in a message is, in a word or two: the last name by which the code knows it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return "it" if name == "self" else name.strip("_").replace("_", " ").lower()
        case ast.Call(func=ast.Name(id="len")):
            return "number"
        case ast.Call(func=ast.Name() | ast.Attribute(attr="join"), args=[within, *_]):
            return _name_of(within)
        case ast.Call(func=ast.Attribute(value=within, attr="strip" | "split" | "get" | "lower")):
            return _name_of(within)
        case ast.GeneratorExp(generators=[ast.comprehension(iter=within)]) | ast.Call(func=within):
            return _name_of(within)
        case (
            ast.Subscript(value=within)
            | ast.BinOp(left=within)
            | ast.IfExp(body=within)
            | ast.BoolOp(values=[within, *_])
        ):
            return _name_of(within)
    return "value"


def _signature(function: object) -> str:
    """The parameters and the result, without the modules of types."""
    found = inspect.signature(function)  # type: ignore[arg-type]
    kept = [
        parameter.replace(annotation=_Plain(_type(parameter.annotation)))
        for name, parameter in found.parameters.items()
        if name != "self"
    ]
    result = found.return_annotation
    shown = str(found.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    return shown if result is None else f"{shown} -> {_type(result)}"


class _Plain(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    paths = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("str | PathLike[str]", "path")
    return paths.replace("'", "")


def _words(thing: object) -> str:
    """The docstring: its paragraphs, and the errors that it lists."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    before, raises, errors = text.partition("Raises:\n")
    listed = re.sub(r"^ {4}(\w+): ", r"- `\1`: ", errors, flags=re.MULTILINE)
    return before + (f"Raises:\n\n{listed}" if raises else "")

"""A proof of sizes: the most bytes that any state of a state machine can take in or give out.

Each value is known by its bound: a leaf of so many bytes, or an object whose fields are known and which may hold so
many bytes beside them. The states are walked from the start, their paths applied to the bounds as Step Functions
applies them to values. Each way through the machine counts by itself: what two ways carry is never added up.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/amazon-states-language-input-output-processing.html
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NAME_BYTES = 80 + 2
MOMENT_BYTES = 32
# An optimized integration gives the reply's headers along with the result.
HEADERS_BYTES = 4096
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html: 256 and 32,768
# characters, of at most four bytes in UTF-8.
ERROR_BYTES, CAUSE_BYTES = 4 * 256 + 2, 4 * 32_768 + 2
_MOST_ROUNDS = 1000


class Unproven(Exception):
    """The machine does something whose size cannot be bounded here."""


@dataclass(frozen=True)
class Leaf:
    """Any JSON value of at most *size* bytes."""

    size: int


@dataclass(frozen=True)
class Object:
    """An object with these fields at most, and *beside* bytes of others."""

    fields: Mapping[str, "Bound"]
    beside: int = 0

    @property
    def size(self) -> int:
        """Its bytes as JSON, with a space after each colon and comma."""
        return 2 + self.beside + sum(len(json.dumps(name)) + 4 + bound.size for name, bound in self.fields.items())


Bound = Leaf | Object
Function = Callable[[Bound], Bound]
"""From the bound of what a function is given to that of what it gives back."""

FAILURE = Object({"Error": Leaf(ERROR_BYTES), "Cause": Leaf(CAUSE_BYTES)})


@dataclass
class Walk:
    """One proof under way, and the largest size met at each place."""

    machine: Mapping[str, Any]
    functions: Mapping[str, Function]
    context: Object
    sizes: dict[str, int] = field(default_factory=dict)

    def met(self, place: str, bound: Bound) -> Bound:
        """Note a value's size."""
        self.sizes[place] = max(self.sizes.get(place, 0), bound.size)
        return bound

    def select(self, path: str, given: Bound) -> Bound:
        """Follow a path such as `$.a.b`, or `$$.Execution.Name` into the context; of a function, bound the result."""
        if path.startswith("States.JsonToString("):
            # Each quotation mark and each backslash gets one more.
            return Leaf(2 + 2 * self.select(path.removeprefix("States.JsonToString(").removesuffix(")"), given).size)
        found: Bound = self.context if path.startswith("$$") else given
        for step in path.removeprefix("$$").removeprefix("$").strip(".").split("."):
            if step and isinstance(found, Object):
                if step not in found.fields and not found.beside:
                    raise Unproven(f"nothing is at {path}")
                found = found.fields.get(step, Leaf(found.beside))
        return found

    def fill(self, template: object, given: Bound) -> Bound:
        """Bound a payload template."""
        if isinstance(template, dict):
            return Object(
                {
                    name.removesuffix(".$"): self.select(value, given)
                    if name.endswith(".$")
                    else self.fill(value, given)
                    for name, value in template.items()
                }
            )
        return Leaf(len(json.dumps(template)))


def prove(machine: Mapping[str, Any], given: Bound, functions: Mapping[str, Function]) -> dict[str, int]:
    """Give the largest size, in bytes, of each state's input, task input, result and output.

    Raises:
        Unproven: a path leads to nothing, a function has no bound, or a type of state is unknown here.
    """
    execution = Object({"Name": Leaf(NAME_BYTES), "StartTime": Leaf(MOMENT_BYTES), "Input": given})
    walk = Walk(machine, functions, Object({"Execution": execution}))
    waiting = [(machine["StartAt"], given)]
    for _ in range(_MOST_ROUNDS):
        if not waiting:
            return walk.sizes
        waiting += list(_leave(walk, *waiting.pop()))
    raise Unproven("there is no end to the ways through the machine")


def _leave(walk: Walk, name: str, given: Bound) -> Iterator[tuple[str, Bound]]:
    """Where a state leads, and with what."""
    state = walk.machine["States"][name]
    walk.met(f"{name} input", given)
    if state["Type"] == "Fail":
        for path in ("ErrorPath", "CausePath"):
            walk.select(state.get(path, "$"), given)
        return
    if state["Type"] == "Choice":
        yield from ((rule["Next"], given) for rule in (*state["Choices"], {"Next": state["Default"]}))
        return
    if state["Type"] not in ("Task", "Pass", "Succeed"):
        raise Unproven(f"state {name} is a {state['Type']}, whose sizes have no bound yet")
    output = walk.met(f"{name} output", _output(walk, name, state, given))
    if "Next" in state:
        yield state["Next"], output
    for catcher in state.get("Catch", ()):
        yield catcher["Next"], _place(given, FAILURE, catcher.get("ResultPath", "$"))


def _output(walk: Walk, name: str, state: Mapping[str, Any], given: Bound) -> Bound:
    chosen = walk.select(state.get("InputPath", "$"), given)
    asked = walk.met(f"{name} task", walk.fill(state["Parameters"], chosen)) if "Parameters" in state else chosen
    result = walk.met(f"{name} result", _result(walk, state, asked))
    if "ResultSelector" in state:
        result = walk.fill(state["ResultSelector"], result)
    return walk.select(state.get("OutputPath", "$"), _place(given, result, state.get("ResultPath", "$")))


def _result(walk: Walk, state: Mapping[str, Any], asked: Bound) -> Bound:
    if state["Type"] != "Task":
        return walk.fill(state["Result"], asked) if "Result" in state else asked
    if state["Resource"].endswith(":dynamodb:updateItem"):
        return Object(
            {"Attributes": walk.functions[state["Parameters"]["TableName"]](asked), "Sdk": Leaf(HEADERS_BYTES)}
        )
    if not state["Resource"].endswith(":lambda:invoke"):
        return Leaf(HEADERS_BYTES)
    function = state["Parameters"]["FunctionName"]
    if function not in walk.functions:
        raise Unproven(f"there is no bound for what {function} returns")
    reply = walk.functions[function](walk.select("$.Payload", asked))
    return Object({"Payload": reply, "StatusCode": Leaf(3), "ExecutedVersion": Leaf(9), "Sdk": Leaf(HEADERS_BYTES)})


def _place(given: Bound, result: Bound, path: str | None) -> Bound:
    """Put a result where ResultPath says; null keeps the input, `$` replaces it."""
    if path is None:
        return given
    if path == "$":
        return result
    name = path.removeprefix("$.")
    if "." in name or not isinstance(given, Object):
        raise Unproven(f"ResultPath {path} is deeper than this proof looks")
    return Object({**given.fields, name: result}, given.beside)


def worst_seconds(machine: Mapping[str, Any]) -> float:
    """The longest that an execution can take if every task takes all its time at every try."""
    states = machine["States"]

    def from_here(name: str) -> float:
        state = states[name]
        branches = (*state.get("Catch", ()), *state.get("Choices", ()))
        handlers = [state.get("Next"), state.get("Default"), *(branch["Next"] for branch in branches)]
        return _state_seconds(state) + max((from_here(reach) for reach in handlers if reach), default=0.0)

    return from_here(machine["StartAt"])


def _state_seconds(state: Mapping[str, Any]) -> float:
    seconds = float(state.get("TimeoutSeconds", 0))
    for retrier in state.get("Retry", ()):
        pauses = [
            min(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n, retrier.get("MaxDelaySeconds", float("inf")))
            for n in range(retrier["MaxAttempts"])
        ]
        seconds += sum(pauses) + len(pauses) * state["TimeoutSeconds"]
    return seconds

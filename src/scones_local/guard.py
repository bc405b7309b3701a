"""Guard: refuse a state machine that AWS would refuse, or that uses a field which the local interpreter ignores.

Rules: https://states-language.net and https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from scones_local.asl import (
    ANY_STATE,
    CHOICE_OPERATORS,
    FIELDS,
    IGNORED_HERE,
    JSONATA_ONLY,
    JSONPATH_ONLY,
    NUMBER_RULES,
    PATH_FIELDS,
    REQUIRED,
    STANDARD_ERRORS,
    TEMPLATES,
    TOP_FIELDS,
)
from scones_local.guard_maps import map_faults
from scones_local.wire import Json

LONGEST_NAME = 80
WAITS = ("Seconds", "SecondsPath", "Timestamp", "TimestampPath")


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse: AWS's code, where (a JSON pointer), and what is wrong."""

    code: str
    where: str
    text: str

    def __str__(self) -> str:
        """As AWS words it."""
        return f"{self.code}: {self.text} at {self.where}"


def refusal(definition: str) -> str | None:
    """AWS's message for a definition that is refused; None when it may run."""
    problems = check(definition)
    if not problems:
        return None
    return f"Invalid State Machine Definition: '{', '.join(map(str, problems))}'"


def check(definition: str) -> list[Problem]:
    """Everything that is wrong with *definition*."""
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return [Problem("INVALID_JSON_DESCRIPTION", "/", f"not valid JSON: {error}")]
    if not isinstance(machine, dict):
        return [Problem("SCHEMA_VALIDATION_FAILED", "/", "a state machine must be a JSON object")]
    return [*_unknown(machine, TOP_FIELDS, ""), *_scope(machine, "", machine.get("QueryLanguage", "JSONPath"), set())]


def _schema(where: str, text: str) -> Problem:
    return Problem("SCHEMA_VALIDATION_FAILED", where or "/", text)


def _unknown(found: Json, known: frozenset[str], where: str) -> Iterator[Problem]:
    for name in found:
        if name not in known:
            yield _schema(f"{where}/{name}", f"the field {name!r} is not supported")


def _scope(machine: Json, where: str, language: str, names: set[str]) -> Iterator[Problem]:
    """One set of states: the whole machine, a branch, or an item processor."""
    states = machine.get("States")
    if not _is_states(states):
        yield _schema(f"{where}/States", "the field 'States' must be an object that holds states")
        return
    yield from _number(machine, "TimeoutSeconds", where)
    yield from _flow(machine.get("StartAt"), states, where)
    for name, state in states.items():
        place = f"{where}/States/{name}"
        if len(name) > LONGEST_NAME:
            yield _schema(place, f"a state's name has at most {LONGEST_NAME} characters")
        if name in names:
            yield Problem("DUPLICATE_STATE_NAME", place, f"the state name {name!r} is used twice")
        names.add(name)
        own = state.get("QueryLanguage", language)
        yield from _state(state, place, own)
        for inner, at in _nested(state, place):
            yield from _scope(inner, at, own, names)


def _is_states(states: object) -> TypeGuard[dict[str, Json]]:
    return isinstance(states, dict) and bool(states) and all(isinstance(state, dict) for state in states.values())


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _among(name: object, states: dict[str, Json]) -> TypeGuard[str]:
    return isinstance(name, str) and name in states


def _nested(state: Json, where: str) -> Iterator[tuple[Json, str]]:
    for index, branch in enumerate(_list(state.get("Branches"))):
        if isinstance(branch, dict):
            yield branch, f"{where}/Branches/{index}"
    for name in ("ItemProcessor", "Iterator"):
        if isinstance(state.get(name), dict):
            yield state[name], f"{where}/{name}"


def _targets(state: Json) -> Iterator[tuple[object, str]]:
    if "Next" in state:
        yield state["Next"], "Next"
    if "Default" in state:
        yield state["Default"], "Default"
    for field in ("Choices", "Catch"):
        for index, rule in enumerate(_list(state.get(field))):
            if isinstance(rule, dict):
                yield rule.get("Next"), f"{field}/{index}/Next"


def _flow(start: object, states: dict[str, Json], where: str) -> Iterator[Problem]:
    """Every target exists, every state can be reached, and there is an end."""
    if not _among(start, states):
        yield Problem("MISSING_TRANSITION_TARGET", f"{where}/StartAt", f"missing 'StartAt' target: {start}")
        return
    for name, state in states.items():
        for target, place in _targets(state):
            if not _among(target, states):
                yield Problem(
                    "MISSING_TRANSITION_TARGET", f"{where}/States/{name}/{place}", f"missing target: {target}"
                )
    reached: set[str] = set()
    waiting: list[object] = [start]
    while waiting:
        if _among(reach := waiting.pop(), states) and reach not in reached:
            reached.add(reach)
            waiting += [target for target, _ in _targets(states[reach])]
    for name in states:
        if name not in reached:
            yield Problem("UNREACHABLE_STATE", f"{where}/States/{name}", "the state cannot be reached")
    if not any(state.get("End") is True or state.get("Type") in ("Succeed", "Fail") for state in states.values()):
        yield Problem("MISSING_END_STATE", f"{where}/States", "no state ends the execution")


def _state(state: Json, where: str, language: str) -> Iterator[Problem]:
    kind = state.get("Type")
    if not isinstance(kind, str) or kind not in FIELDS:
        yield _schema(f"{where}/Type", f"{kind!r} is not a type of state")
        return
    yield from _unknown(state, FIELDS[kind] | ANY_STATE, where)
    for name in REQUIRED.get(kind, ()):
        if not state.get(name):
            yield _schema(where, f"the field {name!r} is required")
    for name, reason in IGNORED_HERE.items():
        if name in state:
            yield _schema(f"{where}/{name}", f"the local cloud ignores {name!r} ({reason}), so it refuses it")
    yield from _transition(state, kind, where)
    yield from _language(state, where, language)
    yield from _details(state, kind, where, language)
    for field in NUMBER_RULES:
        yield from _number(state, field, where)
    yield from _handlers(state, where)


def _transition(state: Json, kind: str, where: str) -> Iterator[Problem]:
    if kind in ("Task", "Pass", "Wait", "Parallel", "Map") and ("Next" in state) == (state.get("End") is True):
        yield _schema(where, "exactly one of 'Next' and 'End: true' is required")
    elif kind in ("Choice", "Succeed", "Fail") and ("Next" in state or "End" in state):
        yield _schema(where, f"a {kind} state has neither 'Next' nor 'End'")


def _language(state: Json, where: str, language: str) -> Iterator[Problem]:
    """Fields of the other query language, paths that are no paths, and an Assign that would do nothing here."""
    for name in JSONPATH_ONLY if language == "JSONata" else JSONATA_ONLY:
        if name in state:
            yield _schema(f"{where}/{name}", f"{name!r} does not belong to {language}")
    if language == "JSONata":
        return
    if "Assign" in state:
        yield _schema(f"{where}/Assign", "the local cloud ignores 'Assign' with JSONPath, so it refuses it")
    for name in PATH_FIELDS:
        value = state.get(name)
        if name in state and value is not None and not (isinstance(value, str) and value.startswith(("$", "States."))):
            yield _schema(f"{where}/{name}", f"{value!r} is not a JSONPath")
    for name in TEMPLATES:
        yield from _template(state.get(name), f"{where}/{name}")


def _template(value: object, where: str) -> Iterator[Problem]:
    """In a payload template, `name.$` takes a path or an intrinsic function."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not name.endswith(".$"):
                yield from _template(item, f"{where}/{name}")
            elif not (isinstance(item, str) and item.startswith(("$", "States."))):
                yield _schema(f"{where}/{name}", f"{item!r} is neither a JSONPath nor an intrinsic function")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _template(item, f"{where}/{index}")


def _details(state: Json, kind: str, where: str, language: str) -> Iterator[Problem]:
    if kind == "Task" and not str(state.get("Resource", "")).startswith("arn:"):
        yield _schema(f"{where}/Resource", f"{state.get('Resource')!r} is not the ARN of a resource")
    if kind == "Wait" and sum(name in state for name in WAITS) != 1:
        yield _schema(where, f"exactly one of {', '.join(WAITS)} is required")
    if kind == "Map":
        for place, text in map_faults(state, language):
            yield _schema(f"{where}{place}", text)
    if kind == "Choice" and language != "JSONata":
        for index, rule in enumerate(_list(state.get("Choices"))):
            yield from _choice(rule, f"{where}/Choices/{index}", top=True)


def _choice(rule: object, where: str, *, top: bool) -> Iterator[Problem]:
    if not isinstance(rule, dict):
        yield _schema(where, "a choice is an object")
        return
    operators = [name for name in rule if name not in ("Next", "Variable", "Comment", "Assign")]
    if len(operators) != 1 or operators[0] not in CHOICE_OPERATORS:
        yield _schema(where, f"a choice has exactly one operator that runs here, not {operators}")
    elif operators[0] in ("And", "Or", "Not"):
        inner = rule[operators[0]]
        for index, each in enumerate([inner] if operators[0] == "Not" else _list(inner) or [None]):
            yield from _choice(each, f"{where}/{operators[0]}/{index}", top=False)
    elif not str(rule.get("Variable", "")).startswith("$"):
        yield _schema(f"{where}/Variable", "a JSONPath is required")
    if top != ("Next" in rule):
        yield _schema(where, "'Next' belongs to the outermost rule, which must have it")


def _number(holder: Json, field: str, where: str) -> Iterator[Problem]:
    """A number within its bounds; an expression is left to run time."""
    value = holder.get(field)
    if field not in holder or (isinstance(value, str) and value.startswith("{%")):
        return
    least, whole = NUMBER_RULES[field]
    right = not isinstance(value, bool) and isinstance(value, int if whole else (int, float))
    if not isinstance(value, int | float) or not right or value < least:
        yield _schema(f"{where}/{field}", f"{value!r} is not {'a whole' if whole else 'a'} number of at least {least}")


def _handlers(state: Json, where: str) -> Iterator[Problem]:
    """Retry and Catch: which errors, in which order, how often."""
    for field in ("Retry", "Catch"):
        rules = _list(state.get(field))
        for index, rule in enumerate(rules):
            place = f"{where}/{field}/{index}"
            if not isinstance(rule, dict):
                yield _schema(place, "an object is required")
                continue
            yield from _unknown(rule, FIELDS[field], place)
            yield from _errors(rule.get("ErrorEquals"), place, last=index == len(rules) - 1)
            for name in ("IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"):
                yield from _number(rule, name, place)
            longest, first = rule.get("MaxDelaySeconds"), rule.get("IntervalSeconds", 1)
            if isinstance(longest, int) and isinstance(first, int) and longest <= first:
                yield _schema(f"{place}/MaxDelaySeconds", "it must be greater than IntervalSeconds")
            if rule.get("JitterStrategy", "NONE") not in ("FULL", "NONE"):
                yield _schema(f"{place}/JitterStrategy", "FULL or NONE is required")


def _errors(names: object, where: str, *, last: bool) -> Iterator[Problem]:
    place = f"{where}/ErrorEquals"
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        yield _schema(place, "a list of error names is required")
        return
    if "States.ALL" in names and (len(names) > 1 or not last):
        yield _schema(place, "'States.ALL' must stand alone, in the last rule")
    for name in names:
        if name.startswith("States.") and name not in STANDARD_ERRORS:
            yield _schema(place, f"{name!r} is not one of the error names that begin with 'States.'")

"""Guard: refuse a state machine that AWS would refuse, or that has a field which the local interpreter ignores.

Rules: https://states-language.net and https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
What the interpreter acts on is ministack 1.5.33's, and map_runs' for a Distributed Map.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeGuard

import botocore.session

from scones_local.wire import Json

ValueRule = tuple[str, Callable[[object], bool]]
"""What a value must be, in words, and as a predicate."""


def _number(minimum: float, *, whole: bool = True, maximum: float = float("inf")) -> ValueRule:
    """A number within its bounds; a JSONata expression is left to run time."""

    def fits(value: object) -> bool:
        if isinstance(value, str):
            return value.startswith("{%")
        kinds = int if whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and minimum <= value <= maximum

    words = f"a {'whole ' if whole else ''}number of at least {minimum:g}"
    return words + (f" and at most {maximum:g}" if maximum < float("inf") else ""), fits


def _one_of(*values: str) -> ValueRule:
    return " or ".join(values), lambda value: value in values


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("$", "States."))


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and bool(value)


PATH: ValueRule = ("a JSONPath", lambda value: value is None or _is_path(value))
"""The rule of every field whose name ends in Path."""
ANYTHING: ValueRule = ("anything", lambda _value: True)
OBJECT: ValueRule = ("an object", lambda value: isinstance(value, dict))
VALUES: Mapping[str, ValueRule] = {
    "TimeoutSeconds": _number(1),
    "HeartbeatSeconds": _number(1),
    "IntervalSeconds": _number(1),
    "MaxAttempts": _number(0),
    "BackoffRate": _number(1, whole=False),
    "MaxDelaySeconds": _number(1),
    "JitterStrategy": _one_of("FULL", "NONE"),
    "MaxConcurrency": _number(0),
    "ToleratedFailureCount": _number(0),
    "ToleratedFailurePercentage": _number(0, whole=False, maximum=100),
    "MaxItemsPerBatch": _number(1),
    "MaxInputBytesPerBatch": _number(1, maximum=262_144),
    "Mode": _one_of("DISTRIBUTED"),
    "ExecutionType": _one_of("STANDARD", "EXPRESS"),
    "InputType": _one_of("CSV", "JSON", "JSONL"),
    "Choices": ("a list that is not empty", _is_list),
    "Branches": ("a list that is not empty", _is_list),
    "ErrorEquals": ("a list of error names", lambda value: _is_list(value) and all(isinstance(e, str) for e in value)),
    "Label": ("a text of at most 40 characters", lambda value: isinstance(value, str) and len(value) <= 40),
    "ItemReader": OBJECT,
    "ItemBatcher": OBJECT,
    "ResultWriter": OBJECT,
    "ReaderConfig": OBJECT,
    "ItemReader.Resource": _one_of("arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2"),
    "ResultWriter.Resource": _one_of("arn:aws:states:::s3:putObject"),
}
"""The rules of values, by the name of the field, or by the kind of its object and its name."""

_ANY = "Type Comment QueryLanguage InputPath OutputPath Output Assign"
_STEP = f"{_ANY} Next End"
_RESULT = f"{_STEP} Parameters Arguments ResultSelector ResultPath Retry Catch"
_MAP = f"{_RESULT} ItemProcessor Iterator Items ItemsPath ItemSelector MaxConcurrency"
_TOLERATED = "ToleratedFailureCount ToleratedFailureCountPath ToleratedFailurePercentage ToleratedFailurePercentagePath"
STATE_FIELDS = {
    "Task": f"{_RESULT} Resource TimeoutSeconds HeartbeatSeconds",
    "Pass": f"{_STEP} Result ResultPath Parameters",
    "Choice": f"{_ANY} Choices Default",
    "Wait": f"{_STEP} Seconds SecondsPath Timestamp TimestampPath",
    "Succeed": _ANY,
    "Fail": f"{_ANY} Error Cause ErrorPath CausePath",
    "Parallel": f"{_RESULT} Branches",
    "Map": _MAP,
}
OTHER_FIELDS = {
    "state machine": "Comment StartAt States Version QueryLanguage TimeoutSeconds",
    "Distributed Map": f"{_MAP} {_TOLERATED} ItemReader ItemBatcher ResultWriter Label MaxConcurrencyPath",
    "Retry": "Comment ErrorEquals IntervalSeconds MaxAttempts BackoffRate MaxDelaySeconds JitterStrategy",
    "Catch": "Comment ErrorEquals Next ResultPath Output Assign",
    "ItemReader": "Resource Parameters ReaderConfig",
    "ReaderConfig": "InputType CSVHeaderLocation CSVHeaders CSVDelimiter MaxItems MaxItemsPath ItemsPointer",
    "ItemBatcher": "BatchInput MaxItemsPerBatch MaxInputBytesPerBatch",
    "ResultWriter": "Resource Parameters",
    "ProcessorConfig": "Mode ExecutionType",
}
FIELDS = {kind: frozenset(names.split()) for kind, names in (STATE_FIELDS | OTHER_FIELDS).items()}
"""The fields of each kind of object that the local cloud supports."""

REQUIRED = {
    "Task": ("Resource",),
    "Choice": ("Choices",),
    "Parallel": ("Branches",),
    "Retry": ("ErrorEquals",),
    "Catch": ("ErrorEquals",),
    "ItemReader": ("Resource",),
    "ResultWriter": ("Resource", "Parameters"),
    "ProcessorConfig": ("Mode", "ExecutionType"),
}
EXACTLY_ONE = {
    "Wait": ("Seconds", "SecondsPath", "Timestamp", "TimestampPath"),
    "Map": ("ItemProcessor", "Iterator"),
}
EXCLUSIVE = ("ToleratedFailureCount", "ToleratedFailurePercentage", "MaxConcurrency")
"""A Distributed Map has such a limit, or its Path, but not both."""
TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector")
JSONATA_ONLY = ("Arguments", "Output", "Items")

_COMPARISONS = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
CHOICE_OPERATORS = frozenset(
    {"And", "Or", "Not", "StringMatches", "BooleanEquals", "BooleanEqualsPath", "StringEqualsPath"}
    | {f"Is{kind}" for kind in ("Present", "Null", "Numeric", "String", "Boolean", "Timestamp")}
    | {f"{kind}{how}" for kind in ("String", "Numeric", "Timestamp") for how in _COMPARISONS}
    | {f"Numeric{how}Path" for how in _COMPARISONS}
)
"""The operators that the local interpreter evaluates; for it, every other one is false."""

STANDARD_ERRORS = frozenset(
    "States." + name
    for name in (
        "ALL", "BranchFailed", "DataLimitExceeded", "ExceedToleratedFailureThreshold", "HeartbeatTimeout",
        "Http.Socket", "IntrinsicFailure", "ItemReaderFailed", "NoChoiceMatched", "ParameterPathFailure", "Permissions",
        "QueryEvaluationError", "ResultPathMatchFailure", "ResultWriterFailed", "Runtime", "TaskFailed", "Timeout",
    )
)  # fmt: skip


CALLBACK = ".waitForTaskToken"
INTEGRATIONS = {
    "lambda:invoke": (CALLBACK,),
    "sns:publish": (CALLBACK,),
    "sqs:sendMessage": (CALLBACK,),
    "events:putEvents": (CALLBACK,),
    "states:startExecution": (".sync", ".sync:2", CALLBACK),
    "sagemaker:createTrainingJob": (".sync",),
    **dict.fromkeys((f"sagemaker:{verb}" for verb in ("createModel", "createEndpointConfig", "createEndpoint")), ()),
    "sagemaker:updateEndpoint": (),
    **dict.fromkeys((f"dynamodb:{verb}Item" for verb in ("get", "put", "update", "delete")), ()),
}
"""The optimized integrations that run here, and the ways to wait that each offers."""
SDK_SERVICES = {
    "sfn": "stepfunctions",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sagemakerruntime": "sagemaker-runtime",
    **{name: name for name in ("dynamodb", "ecr", "iam", "lambda", "s3", "sagemaker", "secretsmanager", "sns", "sqs")},
    **{name: name for name in ("cloudwatch", "kms", "ssm", "sts")},
}
"""The services whose actions run here by `aws-sdk:<service>:<action>`, and their names in botocore."""
SDK_ACTIONS = {
    "sagemakerruntime": {"invokeEndpoint"},
    "lambda": {"getAlias", "getFunction", "getFunctionConfiguration", "createFunction", "updateFunctionConfiguration"}
    | {"updateFunctionCode", "createAlias", "updateAlias"},
    "s3": {"copyObject", "createBucket", "deleteBucket", "deleteObject", "getBucketVersioning", "getObjectTagging"}
    | {"headBucket", "headObject", "listBuckets", "listObjects", "listObjectsV2", "putObjectTagging"},
}
"""The services of which only some actions run here."""


@dataclass(frozen=True, slots=True)
class DefinitionProblem:
    """One reason to refuse: the place as a JSON pointer, the problem, and AWS's code."""

    where: str
    text: str
    code: str = "SCHEMA_VALIDATION_FAILED"

    def __str__(self) -> str:
        """As AWS words it."""
        return f"{self.code}: {self.text} at {self.where or '/'}"


Problems = Iterator[DefinitionProblem]


def refusal(definition: str, *, express: bool = False) -> str | None:
    """AWS's message for a definition that is refused; None if it may run."""
    problems = check(definition, express=express)
    return f"Invalid State Machine Definition: '{', '.join(map(str, problems))}'" if problems else None


def check(definition: str, *, express: bool = False) -> list[DefinitionProblem]:
    """All problems of *definition*, which is of an Express or a Standard workflow."""
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return [DefinitionProblem("/", f"not valid JSON: {error}", "INVALID_JSON_DESCRIPTION")]
    if not isinstance(machine, dict):
        return [DefinitionProblem("/", "a state machine must be a JSON object")]
    scope = _scope(machine, "", machine.get("QueryLanguage", "JSONPath"), set())
    waits = _waits(machine, "") if express else ()
    return [*_object(machine, "state machine", ""), *scope, *waits]


def _object(found: Json, kind: str, where: str) -> Problems:
    """Unsupported fields, missing fields and wrong values of one object."""
    for name, value in found.items():
        words, fits = VALUES.get(f"{kind}.{name}") or VALUES.get(name) or (PATH if name.endswith("Path") else ANYTHING)
        if name not in FIELDS[kind]:
            yield DefinitionProblem(f"{where}/{name}", f"the local cloud does not support {name!r} in a {kind}")
        elif not fits(value):
            yield DefinitionProblem(f"{where}/{name}", f"{name} must be {words}, not {value!r}")
    for name in REQUIRED.get(kind, ()):
        if name not in found:
            yield DefinitionProblem(where, f"{name!r} is required")


def _scope(machine: Json, where: str, language: str, names: set[str]) -> Problems:
    """One set of states: the whole machine, a branch, or an item processor."""
    states = machine.get("States")
    if not _is_states(states):
        yield DefinitionProblem(f"{where}/States", "'States' must be an object that holds states")
        return
    yield from _flow(machine.get("StartAt"), states, where)
    for name, state in states.items():
        place = f"{where}/States/{name}"
        if name in names:
            yield DefinitionProblem(place, f"the state name {name!r} is used twice", "DUPLICATE_STATE_NAME")
        names.add(name)
        own = state.get("QueryLanguage", language)
        yield from _state(state, place, own)
        nested = [(inner, f"Branches/{at}") for at, inner in enumerate(_list(state.get("Branches")))]
        for inner, field in (*nested, *((state.get(each), each) for each in ("ItemProcessor", "Iterator"))):
            if isinstance(inner, dict):
                yield from _scope(inner, f"{place}/{field}", own, names)


def _resource(state: Json, where: str) -> Problems:
    """What a Task calls: a function, an activity, or an integration that runs here."""
    resource = state.get("Resource")
    waits = isinstance(resource, str) and resource.endswith(CALLBACK)
    if "HeartbeatSeconds" in state and not waits:
        text = "the local cloud does not support 'HeartbeatSeconds' in a Task that does not wait for a token"
        yield DefinitionProblem(where.replace("/Resource", "/HeartbeatSeconds"), text)
    if str(state.get("TimeoutSeconds", "")).startswith("{%"):
        text = "the local cloud does not support an expression for TimeoutSeconds"
        yield DefinitionProblem(where.replace("/Resource", "/TimeoutSeconds"), text)
    if resource is not None and not _runs_here(resource):
        known = ", ".join(f"{name}[{'|'.join(ways)}]" if ways else name for name, ways in INTEGRATIONS.items())
        yield DefinitionProblem(
            where,
            f"Resource must be the ARN of a function or an activity, or arn:aws:states::: and one of {known}, or "
            f"aws-sdk:<service>:<action> with a service of {', '.join(sorted(SDK_SERVICES))}, not {resource!r}",
        )


def _runs_here(resource: object) -> bool:
    parts = resource.split(":") if isinstance(resource, str) else []
    if len(parts) < 7 or parts[:2] != ["arn", "aws"]:
        return False
    if parts[2] == "lambda":
        return parts[5] == "function" and len(parts) <= 8
    if parts[2] != "states" or parts[5] == "activity":
        return parts[2] == "states" and bool(parts[3] and parts[4])
    name = ":".join(parts[5:])
    if parts[3] or parts[4]:
        return False
    if parts[5] == "aws-sdk":
        return len(parts) == 8 and _is_action(parts[6], parts[7].removesuffix(CALLBACK))
    return any(
        name.removeprefix(known) in ("", *ways) for known, ways in INTEGRATIONS.items() if name.startswith(known)
    )


@cache
def _is_action(service: str, action: str) -> bool:
    """Whether a service that runs here has this action, by its name in camel case."""
    if service not in SDK_SERVICES or not action[:1].islower():
        return False
    if service in SDK_ACTIONS:
        return action in SDK_ACTIONS[service]
    model = botocore.session.get_session().get_service_model(SDK_SERVICES[service])
    return f"{action[0].upper()}{action[1:]}" in model.operation_names


def _waits(machine: Json, where: str) -> Problems:
    """The tasks of an Express workflow that wait for a job or a token, and its Distributed Maps: AWS refuses them."""
    for name, state in (machine.get("States") or {}).items():
        place = f"{where}/States/{name}"
        resource = str(state.get("Resource", ""))
        if resource.endswith((".sync", ".sync:2", CALLBACK)) or ":activity:" in resource:
            text = f"Express state machines do not support {resource}: it waits for a job or a token"
            yield DefinitionProblem(f"{place}/Resource", text)
        if state.get("Type") == "Map" and _is_distributed(state.get("ItemProcessor")):
            yield DefinitionProblem(place, "Express state machines do not support a Distributed Map")
        inner = [*_list(state.get("Branches")), state.get("ItemProcessor"), state.get("Iterator")]
        for part in inner:
            if isinstance(part, dict):
                yield from _waits(part, place)


def _is_states(states: object) -> TypeGuard[dict[str, Json]]:
    return isinstance(states, dict) and bool(states) and all(isinstance(state, dict) for state in states.values())


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _targets(state: Json) -> Iterator[tuple[object, str]]:
    for name in ("Next", "Default"):
        if name in state:
            yield state[name], name
    for field in ("Choices", "Catch"):
        for index, rule in enumerate(_list(state.get(field))):
            if isinstance(rule, dict):
                yield rule.get("Next"), f"{field}/{index}/Next"


def _flow(start: object, states: dict[str, Json], where: str) -> Problems:
    """Every target exists, every state can be reached, and a state ends the execution."""
    targets = [(start, "StartAt")]
    targets += [(to, f"States/{name}/{field}") for name, state in states.items() for to, field in _targets(state)]
    for target, place in targets:
        if not isinstance(target, str) or target not in states:
            text = f"missing {place.rpartition('/')[2]!r} target: {target}"
            yield DefinitionProblem(f"{where}/{place}", text, "MISSING_TRANSITION_TARGET")
    reached, waiting = set[str](), [start]
    while waiting:
        if isinstance(name := waiting.pop(), str) and name in states and name not in reached:
            reached.add(name)
            waiting += [target for target, _ in _targets(states[name])]
    for name in states.keys() - reached if reached else ():
        yield DefinitionProblem(f"{where}/States/{name}", "the state cannot be reached", "UNREACHABLE_STATE")
    if not any(state.get("End") is True or state.get("Type") in ("Succeed", "Fail") for state in states.values()):
        yield DefinitionProblem(f"{where}/States", "no state ends the execution", "MISSING_END_STATE")


def _state(state: Json, where: str, language: str) -> Problems:
    kind = state.get("Type")
    if not isinstance(kind, str) or kind not in (
        "Task",
        "Pass",
        "Choice",
        "Wait",
        "Succeed",
        "Fail",
        "Parallel",
        "Map",
    ):
        yield DefinitionProblem(f"{where}/Type", f"{kind!r} is not a type of state")
        return
    distributed = kind == "Map" and _is_distributed(state.get("ItemProcessor"))
    yield from _object(state, "Distributed Map" if distributed else kind, where)
    if "Next" in FIELDS[kind] and ("Next" in state) == (state.get("End") is True):
        yield DefinitionProblem(where, "exactly one of 'Next' and 'End: true' is required")
    names = EXACTLY_ONE.get(kind, ())
    if names and sum(name in state for name in names) != 1:
        yield DefinitionProblem(where, f"exactly one of {', '.join(names)} is required")
    yield from _language(state, where, language)
    yield from _handlers(state, where)
    if kind == "Task":
        yield from _resource(state, f"{where}/Resource")
    if kind == "Choice" and language != "JSONata":
        for index, rule in enumerate(_list(state.get("Choices"))):
            yield from _choice(rule, f"{where}/Choices/{index}", outermost=True)
    if distributed:
        yield from _distributed(state, where, language)


def _language(state: Json, where: str, language: str) -> Problems:
    """Fields of the other query language, an Assign that the interpreter ignores, and templates."""
    jsonata = language == "JSONata"
    for name in state:
        jsonpath_only = name.endswith("Path") or name in ("Parameters", "ResultSelector")
        if jsonpath_only if jsonata else name in JSONATA_ONLY:
            yield DefinitionProblem(f"{where}/{name}", f"{name!r} does not belong to {language}")
    if not jsonata and "Assign" in state:
        yield DefinitionProblem(f"{where}/Assign", "the local cloud does not support 'Assign' in JSONPath")
    for name in () if jsonata else TEMPLATES:
        yield from _template(state.get(name), f"{where}/{name}")


def _template(value: object, where: str) -> Problems:
    """In a payload template, `name.$` takes a path or an intrinsic function."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not name.endswith(".$"):
                yield from _template(item, f"{where}/{name}")
            elif not _is_path(item):
                text = f"{item!r} is neither a JSONPath nor an intrinsic function"
                yield DefinitionProblem(f"{where}/{name}", text)
    for index, item in enumerate(_list(value)):
        yield from _template(item, f"{where}/{index}")


def _choice(rule: object, where: str, *, outermost: bool) -> Problems:
    if not isinstance(rule, dict):
        yield DefinitionProblem(where, "a choice must be an object")
        return
    operators = [name for name in rule if name not in ("Next", "Variable", "Comment", "Assign")]
    if len(operators) != 1 or operators[0] not in CHOICE_OPERATORS:
        yield DefinitionProblem(
            where, f"a choice must have one operator that the local cloud supports, not {operators}"
        )
    elif operators[0] in ("And", "Or", "Not"):
        inner = rule[operators[0]]
        for index, each in enumerate([inner] if operators[0] == "Not" else _list(inner) or [None]):
            yield from _choice(each, f"{where}/{operators[0]}/{index}", outermost=False)
    elif not str(rule.get("Variable", "")).startswith("$"):
        yield DefinitionProblem(f"{where}/Variable", "a JSONPath is required")
    if outermost != ("Next" in rule):
        yield DefinitionProblem(where, "the outermost rule must have 'Next', and no other rule may")


def _handlers(state: Json, where: str) -> Problems:
    """Retry and Catch: their fields, the names of errors and their order."""
    for field in ("Retry", "Catch"):
        rules = _list(state.get(field))
        for index, rule in enumerate(rules):
            place = f"{where}/{field}/{index}"
            if not isinstance(rule, dict):
                yield DefinitionProblem(place, "an object is required")
                continue
            yield from _object(rule, field, place)
            errors = _list(rule.get("ErrorEquals"))
            if "States.ALL" in errors and (len(errors) > 1 or index < len(rules) - 1):
                yield DefinitionProblem(f"{place}/ErrorEquals", "'States.ALL' must be alone, in the last rule")
            for name in errors:
                if str(name).startswith("States.") and name not in STANDARD_ERRORS:
                    yield DefinitionProblem(f"{place}/ErrorEquals", f"{name!r} is not an error name of AWS")
            limit, first = rule.get("MaxDelaySeconds"), rule.get("IntervalSeconds", 1)
            if isinstance(limit, int) and isinstance(first, int) and limit <= first:
                yield DefinitionProblem(f"{place}/MaxDelaySeconds", "it must be greater than IntervalSeconds")


def _is_distributed(processor: object) -> bool:
    config = processor.get("ProcessorConfig") if isinstance(processor, dict) else None
    return isinstance(config, dict) and config.get("Mode", "INLINE") != "INLINE"


def _distributed(state: Json, where: str, language: str) -> Problems:
    if language == "JSONata":
        yield DefinitionProblem(where, "the local cloud runs a Distributed Map in JSONPath only")
    for name in EXCLUSIVE:
        if name in state and f"{name}Path" in state:
            yield DefinitionProblem(f"{where}/{name}", f"{name!r} and '{name}Path' exclude each other")
    yield from _object(state["ItemProcessor"]["ProcessorConfig"], "ProcessorConfig", f"{where}/ItemProcessor")
    for name in ("ItemReader", "ItemBatcher", "ResultWriter"):
        if isinstance(found := state.get(name), dict):
            yield from _object(found, name, f"{where}/{name}")
            if name == "ItemBatcher" and not found.keys() & {"MaxItemsPerBatch", "MaxInputBytesPerBatch"}:
                yield DefinitionProblem(f"{where}/{name}", "'MaxItemsPerBatch' or 'MaxInputBytesPerBatch' is required")
            config = found.get("ReaderConfig", {})
            if name == "ItemReader" and isinstance(config, dict):
                yield from _object(config, "ReaderConfig", f"{where}/{name}/ReaderConfig")
                if str(found.get("Resource")).endswith("getObject") and "InputType" not in config:
                    yield DefinitionProblem(f"{where}/{name}/ReaderConfig", "'InputType' is required")

"""The words of the Amazon States Language, and which of them the local interpreter does not act on.

Source: https://states-language.net/spec.html; the operators and ignored fields are those of ministack 1.5.33.
"""

ANY_STATE = frozenset({"Type", "Comment", "QueryLanguage", "InputPath", "OutputPath", "Output", "Assign"})
TOP_FIELDS = frozenset({"Comment", "StartAt", "States", "Version", "TimeoutSeconds", "QueryLanguage"})
_NEXT = {"Next", "End"}
_RESULT = {"Parameters", "Arguments", "ResultSelector", "ResultPath", "Retry", "Catch"}
_TIMES = {"TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath"}
_LIMITS = {"MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount"}
_ITEMS = {
    "ItemProcessor",
    "Iterator",
    "ItemsPath",
    "Items",
    "ItemSelector",
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
}

FIELDS: dict[str, frozenset[str]] = {
    "Task": frozenset(_NEXT | _RESULT | _TIMES | {"Resource", "Credentials"}),
    "Pass": frozenset(_NEXT | {"Result", "ResultPath", "Parameters"}),
    "Choice": frozenset({"Choices", "Default"}),
    "Wait": frozenset(_NEXT | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"}),
    "Succeed": frozenset(),
    "Fail": frozenset({"Error", "Cause", "ErrorPath", "CausePath"}),
    "Parallel": frozenset(_NEXT | _RESULT | {"Branches"}),
    "Map": frozenset(_NEXT | _RESULT | _ITEMS | _LIMITS | {f"{name}Path" for name in _LIMITS} | {"Label"}),
    "Retry": frozenset(
        {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy", "Comment"}
    ),
    "Catch": frozenset({"ErrorEquals", "Next", "ResultPath", "Output", "Assign", "Comment"}),
}
"""What each type of state, and each kind of error handler, may hold."""

REQUIRED = {"Task": ("Resource",), "Choice": ("Choices",), "Parallel": ("Branches",)}

JSONPATH_ONLY = (
    "InputPath", "OutputPath", "ResultPath", "ResultSelector", "Parameters", "ItemsPath", "SecondsPath",
    "TimestampPath", "ErrorPath", "CausePath", "TimeoutSecondsPath", "HeartbeatSecondsPath",
)  # fmt: skip
JSONATA_ONLY = ("Arguments", "Output", "Items")
PATH_FIELDS = (
    "InputPath",
    "OutputPath",
    "ResultPath",
    "ItemsPath",
    "SecondsPath",
    "TimestampPath",
    "ErrorPath",
    "CausePath",
    "MaxConcurrencyPath",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentagePath",
)
TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector")

IGNORED_HERE = {
    "HeartbeatSeconds": "no heartbeat is awaited",
    "HeartbeatSecondsPath": "no heartbeat is awaited",
    "TimeoutSecondsPath": "only a fixed TimeoutSeconds is kept",
    "Credentials": "no role is assumed",
}

_COMPARISONS = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
CHOICE_OPERATORS = frozenset(
    {"And", "Or", "Not", "StringMatches", "BooleanEquals", "BooleanEqualsPath", "StringEqualsPath"}
    | {f"Is{kind}" for kind in ("Present", "Null", "Numeric", "String", "Boolean", "Timestamp")}
    | {f"{kind}{how}" for kind in ("String", "Numeric", "Timestamp") for how in _COMPARISONS}
    | {f"Numeric{how}Path" for how in _COMPARISONS}
)
"""The operators that the local interpreter evaluates; it takes every other for false."""

STANDARD_ERRORS = frozenset(
    f"States.{name}"
    for name in (
        "ALL", "BranchFailed", "DataLimitExceeded", "ExceedToleratedFailureThreshold", "HeartbeatTimeout",
        "Http.Socket", "IntrinsicFailure", "ItemReaderFailed", "NoChoiceMatched", "ParameterPathFailure", "Permissions",
        "QueryEvaluationError", "ResultPathMatchFailure", "ResultWriterFailed", "Runtime", "TaskFailed", "Timeout",
    )
)  # fmt: skip

NUMBER_RULES: dict[str, tuple[float, bool]] = {
    "TimeoutSeconds": (1, True),
    "IntervalSeconds": (1, True),
    "MaxAttempts": (0, True),
    "BackoffRate": (1, False),
    "MaxDelaySeconds": (1, True),
    "MaxConcurrency": (0, True),
    "ToleratedFailureCount": (0, True),
    "ToleratedFailurePercentage": (0, False),
}
"""Least value, and whether it must be a whole number."""

"""The hierarchy of errors is as the module draws it."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from scones.domain import errors
from scones.domain.errors import DataError, MissingPrerequisite, MonitoringError, SconesError, raise_as

PACKAGE = Path(errors.__file__).parents[1]
DRAWN = re.findall(r"^[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE)


def bases() -> dict[str, set[str]]:
    """The names of the bases of each class of the package, read from its source: functions need variables to load."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name] |= {base.id for base in node.bases if isinstance(base, ast.Name)}
    return found


def test_every_branch_is_drawn_once_and_exists() -> None:
    """The direct subclasses of SconesError, and no others."""
    direct = {name for name, above in bases().items() if "SconesError" in above}
    assert direct == set(DRAWN)
    assert len(DRAWN) == len(set(DRAWN))
    assert all(issubclass(getattr(errors, name), SconesError) for name in DRAWN)


def test_every_error_is_under_a_branch() -> None:
    """Only private exceptions, which never leave their module, and `Exception` itself are outside."""
    classes = bases()

    def ancestors(name: str) -> set[str]:
        above = classes.get(name, set())
        return above | {ancestor for base in above for ancestor in ancestors(base)}

    outside = [
        name
        for name in classes
        if not name.startswith("_")
        and ancestors(name) & {"Exception", "ValueError", "RuntimeError", "OSError"}
        and "SconesError" not in {name, *ancestors(name)}
    ]
    assert outside == []


@pytest.mark.parametrize("step", ["stage", "train", "up", "deploy", "classify", "evaluate", "monitor", "dispatch"])
def test_a_missing_prerequisite_names_the_command(step: str) -> None:
    """One line: which environment, what it lacks, and what to run."""
    message = str(MissingPrerequisite(step, "dev"))
    assert message.startswith("environment 'dev' ")
    assert message.endswith(f"; run: scones {step} --env dev")


@pytest.mark.parametrize(
    "error",
    [
        *(AttributeError("no encode"), KeyError("s3"), RecursionError(), MemoryError(), OverflowError("year 1")),
        *(
            UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
            ArithmeticError(),
            AssertionError(),
            StopIteration(),
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_becomes_the_failure_of_its_item(error: Exception) -> None:
    """It is named with its type, and the original stays its cause."""
    with pytest.raises(DataError, match=f"^the photo cannot be read: {type(error).__name__}") as caught:  # noqa: SIM117
        with raise_as(lambda reason: DataError(f"the photo {reason}")):
            raise error
    assert caught.value.__cause__ is error


def test_what_is_raised_on_purpose_or_ends_the_program_passes() -> None:
    """An error of ours says already what is wrong; Ctrl-C is no failure of an item."""
    for error in (MonitoringError("ours"), KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(error)), raise_as(DataError):
            raise error


def test_a_message_with_control_characters_is_escaped_and_short() -> None:
    """An item cannot write to the terminal through the error that it causes."""
    with pytest.raises(DataError) as caught, raise_as(DataError):
        raise ValueError("\x1b[2J\n" * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300

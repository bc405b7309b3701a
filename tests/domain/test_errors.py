"""The hierarchy of errors is as the module draws it."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from scones.domain import errors
from scones.domain.errors import MissingPrerequisite, SconesError

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

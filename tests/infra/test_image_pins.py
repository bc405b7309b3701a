"""What the image is made of: pinned, complete, and not past its support."""

import json
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.buildah import PYTHON, SUITE
from scones.deployment.template import template, unpublished_requirements

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "infra" / "image"
PINS: dict[str, dict[str, str]] = json.loads((RECIPE / "pins.json").read_text())
EXTRAS = ("serve", "monitor", "train")


def overdue(pins: dict[str, dict[str, str]], today: date) -> list[str]:
    """The pins that are no longer supported."""
    return [pin["name"] for pin in pins.values() if date.fromisoformat(pin["supported_until"]) < today]


def closure() -> set[str]:
    """The names of all that the image's programs need: pyproject.toml's words, and what those need in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = [*project["dependencies"], *(word for extra in EXTRAS for word in project["optional-dependencies"][extra])]
    found: set[str] = set()
    while words:
        wanted = Requirement(words.pop())
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        words += requires(wanted.name) or []
    return found


def pinned(path: Path) -> dict[str, str]:
    """Name and version of each line."""
    lines = (Requirement(line.partition(" --hash")[0]) for line in path.read_text().splitlines())
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in lines}


def test_each_requirement_of_the_image_has_the_hash_of_its_wheel() -> None:
    """So that no index can put another file in its place; the build refuses lines without one."""
    lines = (RECIPE / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==\S+( --hash=sha256:[0-9a-f]{64})+", line)] == []
    assert "--require-hashes" in (RECIPE / "Dockerfile").read_text()


@pytest.mark.parametrize("name", PINS)
def test_nothing_pinned_is_past_its_support(name: str) -> None:
    """When this fails, choose a newer version, build and test it, and write its own last day into pins.json."""
    assert overdue({name: PINS[name]}, datetime.now(UTC).date()) == []


def test_a_pin_past_its_support_is_found() -> None:
    """On its last day all is well, the day after it is not."""
    last = date.fromisoformat(PINS["base"]["supported_until"])
    assert overdue({"base": PINS["base"]}, last) == []
    assert overdue({"base": PINS["base"]}, last + timedelta(days=1)) == [PINS["base"]["name"]]


def test_the_base_is_what_the_tests_build_on() -> None:
    """The same Python, of the same Debian; its digest is a whole one, or left to the build, which writes it down."""
    base = PINS["base"]
    assert base["name"].endswith("/python:{}.{}-slim-{}".format(*PYTHON, SUITE))
    assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", base["digest"])


def test_the_functions_run_what_is_pinned() -> None:
    """Each Lambda function with a runtime has the one whose last day is known."""
    resources: Any = template()["Resources"]
    found = {
        each["Properties"].get("Runtime") for each in resources.values() if each["Type"] == "AWS::Lambda::Function"
    }
    assert found - {None} == {PINS["functions"]["name"]}


def test_the_image_holds_what_its_programs_need_at_the_versions_that_the_tests_have() -> None:
    """requirements.txt is complete, without anything beyond, and says what constraints.txt says."""
    versions = pinned(ROOT / "constraints.txt")
    assert pinned(RECIPE / "requirements.txt") == {name: versions.get(name) for name in closure()}


def test_the_monitor_runs_on_the_machines_that_the_image_is_built_for() -> None:
    """The function's architecture is that of the build's machine, and of the endpoint's instances."""
    resources: Any = template()["Resources"]
    assert resources["MonitorFunction"]["Properties"]["Architectures"] == ["x86_64"]
    environment = resources["ImageProject"]["Properties"]["Environment"]
    assert (environment["Type"], "x86_64" in environment["Image"]) == ("LINUX_CONTAINER", True)


def test_the_image_builds_from_pip_s_own_index() -> None:
    """No requirement has a local version, such as `+cpu`, which no public index has: the default build works."""
    assert unpublished_requirements() == ()

"""The state machines, held against Amazon States Language by a checker that is not ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

INFRA = Path(__file__).parents[2] / "infra"
VALIDATOR = Path(sys.prefix) / "asl" / "node_modules" / ".bin" / "asl-validator"


@pytest.fixture
def validator() -> Path:
    """asl-validator, where `make setup` could install it."""
    if not VALIDATOR.exists():
        pytest.skip("asl-validator is not installed; `make setup` does it where npm is")
    return VALIDATOR


@pytest.mark.parametrize("path", sorted(INFRA.glob("*.asl.json")), ids=lambda path: str(path.name))
def test_asl_validator_finds_nothing(validator: Path, path: Path) -> None:
    """Every state machine of infra/ passes."""
    found = subprocess.run([validator, "--json-path", path], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_asl_validator_would_find_a_fault(validator: Path, tmp_path: Path) -> None:
    """A target that does not exist is told: the test above is no formality."""
    machine = json.loads((INFRA / "classify.asl.json").read_text())
    machine["States"]["SerializeImage"]["Next"] = "Nowhere"
    path = tmp_path / "broken.asl.json"
    path.write_text(json.dumps(machine))
    found = subprocess.run([validator, "--json-path", path], capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "Nowhere" in found.stdout + found.stderr

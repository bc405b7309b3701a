"""Mutation testing: change the pure cores at random, and count the changes that their tests notice.

`make mutants` runs it; pyproject.toml names the cores and their tests. A change that no test notices is shown by
`PYTHONPATH=.venv/mutmut .venv/bin/python .venv/mutmut/bin/mutmut show NAME`; docs/mutants.md lists those that remain.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

FLOOR = 0.85
"""The share of changes that the tests must notice."""
_FOLDER = Path("mutants")
_SURVIVED, _NO_TESTS = 0, 33
"""The tests' exit status if they passed, and mutmut's code for a function that no test calls."""
# One thread each: two workers share the machine.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SCONES_PHOTOS": ""}


def mutmut(*names: str) -> None:
    """Try these mutants; all are made first, and each runs only the tests that call its function."""
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run", *names]
    subprocess.run(command, env={**os.environ, **_ENVIRONMENT}, check=True)


def outcomes() -> dict[str, int | None]:
    """The exit status of each mutant's tests; None if it was not tried."""
    found: dict[str, int | None] = {}
    for file in sorted(_FOLDER.rglob("*.meta")):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def main() -> None:
    """Sample, run and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    mutmut("scones.domain.statistics.*")
    names = sorted(outcomes())
    sample = random.Random(options.seed).sample(names, min(options.sample, len(names)))
    mutmut(*sample)
    found = outcomes()
    missed = [name for name in sample if found[name] in {_SURVIVED, _NO_TESTS}]
    share = 1 - len(missed) / len(sample)
    sys.stdout.write("\n".join(["not noticed:", *sorted(missed), ""]))
    sys.stdout.write(f"{share:.0%} of {len(sample)} changes, of {len(names)} possible ones, were noticed\n")
    if share < FLOOR:
        sys.exit(f"fewer than {FLOOR:.0%}: add tests for those above")


if __name__ == "__main__":
    main()

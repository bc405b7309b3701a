"""The house's own rules, where no linter knows them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked(*patterns: str) -> list[Path]:
    """Every file of the project that git tracks and that matches."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_no_module_is_called_after_nothing() -> None:
    """`utils` and its like say nothing of what they hold."""
    vague = {"utils", "util", "helpers", "common", "misc", "manager", "base"}
    assert [path for path in tracked("src/*.py") if path.stem in vague] == []


def test_each_decision_has_one_page_with_a_number_of_its_own() -> None:
    """docs/adr/NNNN-name.md: status, context, options, decision, consequences; the index lists it."""
    pages = tracked("docs/adr/[0-9]*.md")
    numbers = [path.name[:4] for path in pages]
    assert len(numbers) == len(set(numbers))
    index = (ROOT / "docs/adr/README.md").read_text()
    assert [page.name for page in pages if f"({page.name})" not in index] == []
    for page in pages:
        lines = page.read_text().splitlines()
        headings = ("Status:", "## Context", "## Options", "## Decision", "## Consequences")
        assert [word for word in headings if not any(line.startswith(word) for line in lines)] == []


def test_the_mark_of_a_test_that_is_never_run_stands_nowhere() -> None:
    """A test that fails is mended or taken out, not switched off."""
    switched_off = ("pytest.mark." + "skip(", "pytest.mark." + "xfail")
    assert [path for path in tracked("tests/*.py") if any(mark in path.read_text() for mark in switched_off)] == []

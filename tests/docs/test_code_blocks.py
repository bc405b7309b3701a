"""The code of the documentation: each block runs in a test or says why not, and each command in a page exists."""

import re
import shlex
from collections import Counter
from pathlib import Path

import click
import pytest

from scones.cli.group import scones

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "src/scones_local/README.md", *ROOT.glob("docs/**/*.md")]
)
RUN = {
    ("README.md", "python"): "tests/cli/test_session.py",
    ("docs/tutorial.md", "console"): "tests/docs/test_tutorial.py",
    ("docs/how-to/add-a-class.md", "console"): "tests/docs/test_tutorial.py",
    ("docs/how-to/after-an-alert.md", "console"): "tests/docs/test_tutorial.py",
    ("docs/how-to/roll-back.md", "console"): "tests/docs/test_tutorial.py",
    ("docs/bring-your-own-workflow.md", "bash"): "tests/docs/test_bring_your_own_workflow.py",
    ("docs/dispatch.md", "toml"): "tests/domain/test_vehicles.py",
    ("src/scones_local/README.md", "python"): "tests/scones_local/test_cloud.py",
}
"""The test that runs all blocks of a page in one language."""
_BLOCK = re.compile(
    r"^ *(<!-- not run: (?P<why>[^\n]+) -->\n *)?```(?P<language>[a-z]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`(scones [^`\n]+)`")


def name(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, code and the reason why it is not run, "" if none; a block of `text` is output or a figure."""
    found = [found.group("language", "code", "why") for found in _BLOCK.finditer(page.read_text("utf-8"))]
    return [(language, code, why or "") for language, code, why in found if language != "text"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_code_block_runs_in_a_test_or_says_why_not(page: Path) -> None:
    """A block without a language would do neither."""
    for language, code, why in blocks(page):
        assert language, f"a block has no language: {code[:60]}"
        assert why or (name(page), language) in RUN, f"{language}: {code[:60]}"


def test_the_tests_that_run_blocks_read_their_pages() -> None:
    """Each page of the list has such blocks, and the test names the page; the counts are what a reader can rely on."""
    counts = Counter[str]()
    for page in PAGES:
        for language, _, why in blocks(page):
            counts["marked" if why else "run"] += 1
            test = ROOT / RUN.get((name(page), language), name(page))
            assert why or page.name in test.read_text("utf-8")
    for page_name, language in RUN:
        assert [code for found, code, _ in blocks(ROOT / page_name) if found == language]
    assert counts["run"] >= 20, counts


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    """In blocks that are not run, and in the text; the page of the commands is generated from them."""
    text = page.read_text("utf-8")
    lines = [line for _, code, _ in blocks(page) for line in code.replace("\\\n", " ").splitlines()]
    written = [part for line in lines for part in line.split("&&") if re.match(r"\s*(\$ )?scones ", part)]
    unknown = [line for line in [*written, *_INLINE.findall(_BLOCK.sub("", text))] if not exists(line)]
    assert unknown == []


def exists(line: str) -> bool:
    """Whether the command line has this command, and the command these options; an upper-case word stands for any."""
    words = shlex.split(line.strip().removeprefix("$ ").replace("'", ""), comments=True)[1:]
    command: click.Command = scones
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0] == words[0].upper() or words[0] == "...":
            return True
        if words[0] not in command.commands:
            return False
        command = command.commands[words.pop(0)]
    options = {option for each in command.params if isinstance(each, click.Option) for option in each.opts}
    options |= {option for each in command.params if isinstance(each, click.Option) for option in each.secondary_opts}
    named = {word.partition("=")[0].rstrip(",") for word in words if re.match(r"--?[a-z]", word)}
    return named <= options | {"--help", "-h"}


def test_a_wrong_command_or_option_would_be_found() -> None:
    """The check itself, on what is right and on what is not."""
    assert all(map(exists, ["scones up --env live", "$ scones review import FILE", "scones retrain approve # now"]))
    assert not any(map(exists, ["scones upp", "scones up --enw live", "scones review upload FILE"]))

"""The code of the documentation: each block runs in a test or says why not, and each command in a page exists."""

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
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
    ("docs/review.md", "console"): "tests/docs/test_tutorial.py",
    ("docs/retraining.md", "console"): "tests/docs/test_tutorial.py",
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
def test_the_command_line_accepts_each_command_that_a_page_names(page: Path) -> None:
    """In all blocks and in the text: commands, options, values and the number of arguments."""
    text = page.read_text("utf-8")
    lines = [line for _, code, _ in blocks(page) for line in code.replace("\\\n", " ").splitlines()]
    written = [
        part for line in lines for part in re.split(r"&&|\|", line) if re.match(r"\s*(\$ )?(\w+=\S+ )*scones ", part)
    ]
    inline = [(line, False) for line in _INLINE.findall(_BLOCK.sub("", text))]
    assert refused([*((line, True) for line in written), *inline]) == []


@pytest.mark.parametrize("folder", ["src/scones", "src/scones_local", "infra"])
def test_the_command_line_accepts_each_command_of_messages_pages_and_docstrings(folder: str) -> None:
    """Wherever a text of the program, of a page or of a resource names one; after `run:` with all its arguments."""
    files = [
        path
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".j2", ".js", ".yaml", ".yml", ".json"}
    ]
    named = {(path, *command) for path in files for text in texts(path) for command in commands(text)}
    assert len(named) >= {"src/scones": 100, "src/scones_local": 0, "infra": 5}[folder]
    assert [
        (path.name, *refused([(line, whole)])) for path, line, whole in sorted(named) if refused([(line, whole)])
    ] == []


def texts(path: Path) -> Iterator[str]:
    """The strings of a program, with VALUE for what they take in; of another file, all of it."""
    if path.suffix != ".py":
        yield path.read_text("utf-8")
        return
    tree = ast.parse(path.read_text("utf-8"))
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {part for node in joined for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node not in parts:
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Each command in a text, up to the first word that is not its own, and whether it is said to run it."""
    for found in re.finditer(
        r"(run:? |`)?(?<![\w./'-])scones ([a-z][^`;:,)(<>&|\"\n]*)", re.sub(r"\{\{.*?\}\}", "VALUE", text)
    ):
        kept, command = ["scones"], scones
        for word in re.sub(r"\.(?= |$)", "", found[2]).split():
            takes_value = kept[-1].startswith("--") and "=" not in kept[-1]
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]  # type: ignore[assignment]
            elif not (takes_value or word.startswith("-") or re.fullmatch(r"[\dA-Z%._]+", word)):
                break
            kept.append(word)
        yield " ".join(kept), found[1] == "run: "


def refused(lines: Iterable[tuple[str, bool]]) -> list[str]:
    """Those of *lines* that the command line refuses, and why; one without arguments may only name a command."""
    return [f"{line}: {reason}" for line, whole in lines if (reason := why_refused(line, whole=whole))]


def why_refused(line: str, *, whole: bool = True) -> str:
    """Why the command line refuses a line, "" if it does not; upper-case words stand for any value."""
    text = re.sub(r"[\[\]]", "", line.strip().removeprefix("$ "))
    words = [word for word in shlex.split(text, comments=True) if not re.match(r"[A-Z_]+=", word)][1:]
    words = [
        "0" * 64 if word == "PHOTO" else "1" if re.fullmatch(r"[A-Z%g]+|.*\.tar\.gz", word) else word for word in words
    ]
    command: click.Command = scones
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0] in {"...", "1"}:
            return ""
        if words[0] not in command.commands:
            return f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    if isinstance(command, click.Group):
        return ""
    try:
        command.make_context("scones", [word for word in words if word != "..."], help_option_names=["-h", "--help"])
    except click.exceptions.Exit:
        return ""
    except click.MissingParameter as error:
        named_only = not whole and all(word.startswith("-") for word in words)
        return "" if named_only else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return ""


def test_a_wrong_command_option_value_or_argument_would_be_found() -> None:
    """The check itself, on what is right and on what is not."""
    right = [
        "scones up --env live",
        "$ scones review import FILE",
        "scones retrain approve # now",
        "A=1 scones up --threshold 0.9",
    ]
    assert refused((line, True) for line in right) == []
    assert why_refused("scones review import", whole=False) == ""
    wrong = [
        "scones upp",
        "scones up --enw live",
        "scones review upload FILE",
        "scones up --threshold high",
        "scones compare 1",
    ]
    assert len(refused((line, True) for line in [*wrong, "scones review import", "scones status now"])) == 7
    said = 'refused; first run: scones compare {a} {b}; "scones deploy" waits. Then scones monitor reads all'
    assert list(commands(said.format(a="VALUE", b=3))) == [
        ("scones compare VALUE 3", True),
        ("scones deploy", False),
        ("scones monitor", False),
    ]

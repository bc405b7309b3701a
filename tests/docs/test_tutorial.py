"""The commands of docs/tutorial.md and of the how-to pages run, one after the other, and print what the pages show."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.test_render import unclear
from scones.data.sources.synthetic import render

ROOT = Path(__file__).parents[2]
PAGES = (
    "tutorial.md",
    "how-to/after-an-alert.md",
    "how-to/roll-back.md",
    "review.md",
    "retraining.md",
    "how-to/add-a-class.md",
)
"""In the order in which they run: the how-to pages go on where the tutorial ends, and its last block then cleans up."""
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_OPEN = re.compile(r"^([0-9a-f]{64}) open", re.MULTILINE)
_FIGURE = re.compile(r"\b[0-9a-f]{12,}\b|\d(?:[\d.:T-]*\d)?")


def sessions(page: str) -> list[list[tuple[str, list[str]]]]:
    """The page's blocks that are run: each a list of commands, with the lines that they print."""
    # Blocks inside a numbered list are indented.
    text = re.sub(r"^ {4}(?=\S)", "", (ROOT / "docs" / page).read_text("utf-8"), flags=re.MULTILINE)
    text = re.sub(r"<!-- not run: [^\n]* -->\n```.*?\n```", "", text, flags=re.DOTALL)
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    # A block without prompts has commands alone, which print anything.
    texts = [
        block if "$ " in block else re.sub(r"^(?=.)(.*)$", r"$ \1\n...", block, flags=re.MULTILINE) for block in blocks
    ]
    commands = [re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE) for text in texts]
    return [[(command, printed.splitlines()) for command, printed in block] for block in commands]


def in_order() -> Iterator[tuple[str, list[str]]]:
    """All commands of all pages, the tutorial's last block at the end."""
    *tutorial, clean_up = sessions(PAGES[0])
    for block in [*tutorial, *(block for page in PAGES[1:] for block in sessions(page)), clean_up]:
        yield from block


def missing(shown: list[str], printed: list[str], hashes: dict[str, str]) -> str:
    """The first line of the page that was not printed in its place, "" if none; learns what the page's hashes mean."""
    left, skips = list(printed), False
    for line in shown:
        if line == "...":
            skips = True
            continue
        while left and skips and not alike(line, left[0]):
            left.pop(0)
        if not left or not alike(line, left[0]):
            return line
        hashes.update(zip(_HASH.findall(line), _HASH.findall(left.pop(0)), strict=True))
        skips = False
    return "" if skips or not left else f"nothing before {left[0]}"


def alike(shown: str, printed: str) -> bool:
    """Whether two lines differ in figures and their plurals only; dots at the end of what is shown are the rest."""
    shown, words = (re.sub(r"(?<=# )([a-z]+?)s\b", r"\1", _FIGURE.sub("#", line)) for line in (shown, printed))
    start, dots, _ = shown.partition(" ...")
    return words.startswith(start) if dots else words == start


def environment(folder: Path) -> Mapping[str, str]:
    """The user's: a shell that has `scones`, and nothing of this process's settings for AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCONES_"))}  # noqa: TID251
    return {
        **kept,
        "PATH": f"{sys.prefix}/bin{os.pathsep}{kept['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
        # What costs most of the test's time, and changes figures only.
        "SCONES_BAKE_SECONDS": "0",
        "SCONES_IMAGE_SIZE": "64",
    }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with drawings where the tutorial has the reader's photos; its local cloud ends with the test."""
    drawn = {"photos/bicycle": ("bicycle", 0), "photos/motorcycle": ("motorcycle", 0), "scooter": ("bicycle", 90)}
    for folder, (label, turned) in drawn.items():
        (tmp_path / folder).mkdir(parents=True)
        for number in range(20):
            picture = render(label, "test" if turned else "train", number).resize((160, 160)).rotate(turned)
            picture.save(tmp_path / folder / f"{number:02}.jpg")
    render("motorcycle", "test", 3).resize((160, 160)).save(tmp_path / "courier.jpg")
    yield tmp_path
    subprocess.run(["scones", "local", "down"], env=environment(tmp_path), cwd=tmp_path, check=False)  # noqa: S607


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_prints_what_the_page_shows(home: Path) -> None:
    """Figures and hashes may differ, `...` is any lines, PHOTO the first open photo; no line is said twice."""
    hashes: dict[str, str] = {}
    commands = list(in_order())
    assert len(commands) >= 20
    for written, shown in commands:
        command = _HASH.sub(lambda found: hashes[found[0]], written).replace("PHOTO", hashes.get("PHOTO", ""))
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607
            cwd=home,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        if waits := _OPEN.search(done.stdout):
            hashes["PHOTO"] = waits[1]
        absent = missing(shown, done.stdout.splitlines(), hashes)
        assert not absent, f"{command} did not print {absent!r}, but:\n{done.stdout}"
        if command.startswith("scones "):
            assert unclear(done.stdout.splitlines()) == [], command


def test_a_line_that_is_not_printed_would_be_found() -> None:
    """Figures and hashes may differ; words, order and what comes after may not, except where dots stand."""
    hashes: dict[str, str] = {}
    shown = ["...", f"photo {'a' * 64}: bicycle at 51.5%", "done ..."]
    assert missing(shown, ["first", f"photo {'b' * 64}: bicycle at 7%", "done in 3 s"], hashes) == ""
    assert hashes == {"a" * 64: "b" * 64}
    assert missing(shown, [f"photo {'b' * 64}: motorcycle at 7%", "done"], {}) == shown[1]
    assert missing(shown, ["done"], {}) == shown[1]
    assert missing(["1 photo to review"], ["3 photos to review"], {}) == ""
    assert missing(["..."], ["anything"], {}) == ""
    assert missing([], ["anything"], {}) == "nothing before anything"

r"""Text: of foreign origin, made safe for a terminal, for Markdown and for a spreadsheet; and commands to paste.

File names, class names, identifiers and error messages come from others. Whatever the command line prints passes
`printable`, in `cli/output.py`; HTML pages escape by themselves.
"""

import re
import unicodedata
from contextvars import ContextVar
from typing import Final

# Control characters, surrogates, line and paragraph separators, and invisible format characters, such as those that
# reverse the direction of text; joiners stay, which emoji and some scripts need.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|&~$!#])")
DEFAULT_ENV: Final = "dev"
shown_env: ContextVar[str] = ContextVar("shown_env", default=DEFAULT_ENV)
"""The environment of the command that runs, which the commands in its messages and reports name."""
_LISTED = """
approve, classify, compare, console, demo, deploy, dispatch, down, evaluate, forget, image, labels export, local down,
local env, local status, local up, logs, models, monitor, open, predict, register, releases, replay, retrain,
retrain approve, retrain reject, review answer, review correct, review corrections, review count, review export,
review import, review list, review skip, review withdraw, rollback, simulate, stage, status, train, up
"""
COMMANDS: Final = frozenset(name.strip() for name in _LISTED.split(","))
"""The commands that take `--env`."""
_COMMAND = re.compile(r"scones ((?:(?!scones\b)[a-z]+\b(?!-) ?){1,3})(?!(?:(?!scones )[^\n;`&])*--env)")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n']")


def exact_percent(share: float) -> str:
    """A share that someone chose, such as a threshold, as a percentage with no more digits than it has: 80%, 99.5%."""
    return f"{100 * share:.6g}%"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """So many of *noun*: `1 photo`, `1,200 photos`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def spaced(name: str) -> str:
    """The words of a name in code: `below threshold`."""
    return name.replace("_", " ")


def printable(text: str) -> str:
    r"""*text* with escapes in place of control characters and of bytes that are not UTF-8 (`caf\xe9.jpg`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(letter) if _is_unprintable(letter) else letter for letter in text)


def printable_json(text: str) -> str:
    """JSON with the same value, and the escapes of JSON in place of those characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_json_escape(letter) if _is_unprintable(letter) else letter for letter in text)


def markdown_text(text: str) -> str:
    """*text* as it is shown by Markdown, also in a cell of a table: no markup, no HTML, one line."""
    return _MARKDOWN.sub(r"\\\1", printable(text))


def spreadsheet_cell(text: str) -> str:
    """*text* as a cell of CSV that no spreadsheet takes for a formula; `text_of_cell` undoes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def text_of_cell(cell: str) -> str:
    """The text that `spreadsheet_cell` made a cell of; other cells are as they are."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell


def name_env(text: str, env: str) -> str:
    """*text*, in which each command of ours says --env, so that it can be pasted; none for the default environment."""

    def name(found: re.Match[str]) -> str:
        words = found[1].split()
        for count in range(len(words), 0, -1):
            command = " ".join(words[:count])
            if command in COMMANDS:
                return f"scones {command} --env {env}{found[1][len(command) :]}"
        return found[0]

    return text if env == DEFAULT_ENV else _COMMAND.sub(name, text)


def with_env(text: str) -> str:
    """*text*, in which each command of ours names the environment of the command that runs."""
    return name_env(text, shown_env.get())


def _is_unprintable(letter: str) -> bool:
    return unicodedata.category(letter) in _UNPRINTABLE and letter not in _JOINERS


def _escape(letter: str) -> str:
    # Python reads a byte that is not UTF-8 as the code U+DC00 + byte.
    code = ord(letter) - 0xDC00 if 0xDC80 <= ord(letter) <= 0xDCFF else ord(letter)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escape(letter: str) -> str:
    codes = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{codes[start : start + 2].hex()}" for start in range(0, len(codes), 2))

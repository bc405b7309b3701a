"""Logs: read what an environment's functions, state machines, endpoint, training jobs and builds logged."""

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeGuard

from scones.aws.cloudwatch import TRAINING_GROUP
from scones.aws.connection import Aws
from scones.deployment.template import function_names
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.errors import CommandError
from scones.domain.naming import from_iso8601, to_iso8601
from scones.domain.result import StepResult

_MAX_PAGES = 50
"""How many pages of one log are read at most, each of up to 10,000 events or 1 MB."""
_MAX_CHARACTERS = 240
"""This much of a message is shown; `--verbose` and `--json` have all of it."""
_FEW = 4
"""So many logs are named where nothing was found."""
_KEPT_DAYS = 14
"""How long the template's log groups keep a line."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SINCE = re.compile(r"(\d{1,9}) ?([smhdw])")
_ID = re.compile(r"[\w.:+/=-]{1,128}")
_HASH = re.compile(r"[0-9a-f]{12,64}", re.IGNORECASE)
"""A SHA-256, or as much of it as `replay` shows."""
_HASH_DIGITS = 64
_NAMES_ONE = re.compile(r"(?=.*\d).{12,}")
"""A name that text without fields quotes only if it is about this execution."""

_PLATFORM = re.compile(
    r"(?:START|END|REPORT) RequestId: |INIT_START Runtime Version: |INIT_REPORT Init Duration: "
    r"|RESTORE_(?:START|REPORT) |XRAY TraceId: |(?:EXTENSION|TELEMETRY|LOGS)\s+Name: "
)
"""The lines that Lambda adds to each call; of them only the report of a timeout is shown."""
_LEVEL = re.compile(r"\[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\]\s*(?:\S+Z\t\S*\t)?")
"""How Lambda's Python writes a line of `logging`."""
_RAISED = re.compile(r"(\w+): .*\sTraceback \(most recent call last\)", re.DOTALL)
"""An exception as Lambda writes it: its name and message, then the traceback."""
_FAILURE = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|PANIC|Traceback|Task timed out|Runtime exited|Status: timeout|State: FAILED"
    r"|\w*(?:_ERROR\b|(?:Error|Exception):)|(?:OOM)?Killed\b|signal:? killed|[Oo]ut of memory|Segmentation fault)"
    r"|\*\*\* .{0,200}Error \d"
    # A measure, such as `error: 0.05`, is none.
    r"|(?i:(?<![\w.-])(?:error|fatal|critical|panic)(?:\[\w+\])?:(?!\s*[-+]?[\d.]+(?:e-?\d+)?%?\s*(?:$|[,;|)]|\w+[=:])))"
    r"|(?i:\b(?:level|lvl|severity)\W{1,4}(?:error|fatal|critical|panic)\b|\[(?:error|fatal|critical|panic)\])"
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b")
_FAILED_EVENTS = ("Failed", "TimedOut", "Aborted")
"""The ends of the types of Step Functions' events about what failed."""
_NOT_AN_ERROR = {"NotAPhoto"}
_ERROR_PATTERN = " ".join(
    f'?"{term}"'
    for term in (
        *(form(word) for word in ("error", "critical", "fatal", "panic") for form in (str.upper, str.title, str.lower)),
        *(
            "Traceback",
            "Exception",
            "timed out",
            "exited",
            "timeout",
            "Killed",
            "killed",
            "memory",
            "Segmentation",
            "FAILED",
        ),
        *_FAILED_EVENTS,
    )
)
"""What every line of an error contains, and others too: CloudWatch sends fewer lines, and these are judged here."""

_KEY = (
    r"(?:secret|token|passw(?:or)?d|passphrase|passcode|bearer|pwd|(?:db|smtp|user|mysql)[-_]?pass|signature|credential|cookie"
    r"|authorization|(?:api|access|private|account|signing|encryption|ssh)[-_]?key)s?(?:[-_]?(?:string|value|key|hash))?\d?"
)
_SECRET_NAME = re.compile(rf"(?:{_KEY}|(?<![a-z])(?:pass|sig))\s{{0,9}}\Z", re.IGNORECASE)
_NAME = rf"(?<![\w-])[\w-]{{0,60}}{_KEY}"
_NAMED = rf"{_NAME}\\*[\"']?\s{{0,9}}(?:[:=]{{1,3}}>?|%3D)\s{{0,9}}"
_HEADER = r"(?:(?:proxy-)?authorization|(?:set-)?cookie)\s{0,9}[:=]\s{0,9}"
_SECRETS = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        r"(https?://[^\s\\\"'<>]{0,200}?hooks?[\w.:-]{0,100}/)[^\s\\\"'<>]+",
        r"(/services/)T\w{1,40}/B\w{1,40}/\w+",
        r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/\s:@\"']{0,200}:[^/\s\"']{1,200}(?=@)",
        # A quoted value ends at the same quote with as many backslashes; one in brackets may hold anything.
        rf"({_NAMED}(?:[bur]{{1,2}}|\w{{1,40}}\()?(\\*[\"']))(?:(?!(?<!\\)\2).)+",
        rf"({_NAMED})[\[{{(](?!secret\])(?:\s*[\r\n].*|[^\r\n]*)",
        rf"(([\"'])[\w-]{{0,60}}{_KEY}\2,\s{{0,9}}([\"']))(?:(?!\3).)+",
        rf"(<[\w:-]{{0,60}}{_KEY}>)[^<]+",
        rf"(([\"']){_HEADER})(?:(?!\2).)+",
        rf"(\b{_HEADER})(?![\s\\\"'])[^\r\n]+",
        rf"({_NAMED})(?:[^\s\"'&,;}}\\]|[&,;](?![\w.-]{{0,60}}[=:])(?=[^\s\"']))+",
        rf"((?<![\w-])--?[\w-]{{0,60}}(?:{_KEY}|-pass)[\s,\"']{{1,9}})(?!--)[^\s\"']+",
        r"((?<![\w-])sig=)[^\s&\"']+",
        r"(\s(?:-u|--user)[\s=]{1,3}[\"']?[^\s:\"']{1,100}:)[^\s\"']+",
        r"(\b(?:bearer|basic) )[\w.~+/=-]{8,}",
        r"()\b(?:A[KS]IA[A-Z0-9]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{8,})",
        r"()\b(?:sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{8,}|(?:hf|npm)_\w{20,}|pypi-[\w-]{20,}|AIza[\w-]{30,})",
        r"()\beyJ[\w-]{5,2000}\.[\w-]{5,4000}\.[\w-]+",
    )
)
"""How passwords, keys, tokens and signed URLs look in text; the first group stays."""
_HIDDEN = "[secret]"
_PAIR = 2
_MAX_DEPTH = 60
"""A value that is nested deeper is redacted as text."""


class LogError(CommandError):
    """What `logs` should read does not exist; the message says what does."""


class LogLevel(StrEnum):
    """How grave a line is; that a photo is refused or waits for a person is a warning."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event: when, what logged it, and the photo (SHA-256) and execution that it is about, if it says so."""

    when: str
    log: str
    level: LogLevel
    message: str
    photo: str
    execution: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are wanted: those about a *photo* or an *execution*, or only *errors*; None for all.

    Raises:
        LogError: an id is empty, or has characters that no id has.
    """

    photo: str | None = None
    execution: str | None = None
    errors: bool = False

    def __post_init__(self) -> None:
        """Check the ids: an empty one, of a variable of the shell that is not set, would mean all lines."""
        what = {"photo": "SHA-256 of a photo, or its first 12 digits", "execution": "name that scones classify shows"}
        for name, value in self._ids():
            if not isinstance(value, str) or not value.strip():
                said = "empty" if isinstance(value, str) else f"no text, but {value!r}"
                raise LogError(f"the {name} is {said}; give the {what[name]}, or leave it out for all lines")
            if not _ID.fullmatch(value):
                raise LogError(f"{value!r} is not the id of a photo or an execution; scones classify shows executions")

    def _ids(self) -> list[tuple[str, str]]:
        return [
            (name, value) for name, value in (("photo", self.photo), ("execution", self.execution)) if value is not None
        ]

    def _is_prefix(self) -> bool:
        return bool(self.photo and _HASH.fullmatch(self.photo) and len(self.photo) < _HASH_DIGITS)

    def pattern(self) -> str:
        """The filter pattern for CloudWatch; it lets more pass than is wanted, as it finds no part of a word."""
        photo = self.photo.lower() if self.photo and _HASH.fullmatch(self.photo) else self.photo
        ids = [each for each in ("" if self._is_prefix() else photo, self.execution) if each]
        return " ".join(f'"{each}"' for each in ids) or (_ERROR_PATTERN if self.errors else "")

    def photo_of(self, line: LogLine) -> str:
        """The wanted photo that this line is about, in full, by its field or else by its text; empty if it is not."""
        if not self.photo or not _HASH.fullmatch(self.photo):
            return line.photo if line.photo == self.photo else ""
        rest = rf"{self.photo}[0-9a-f]{{{_HASH_DIGITS - len(self.photo)}}}"
        found = re.search(rf"(?<![0-9a-f]){rest}(?![0-9a-f])", line.photo or line.message, re.IGNORECASE)
        return found[0].lower() if found else ""

    def wants(self, line: LogLine) -> bool:
        """Whether this line is wanted: it names the photo and the execution, in a field or in text without fields."""
        return (
            (self.photo is None or bool(self.photo_of(line)))
            and (self.execution is None or self._is_of_execution(line, self.execution))
            and (not self.errors or line.level is LogLevel.ERROR)
        )

    def _is_of_execution(self, line: LogLine, name: str) -> bool:
        if line.execution:
            return line.execution == name
        return bool(_NAMES_ONE.match(name) and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line.message))

    def require_one_photo(self, lines: Iterable[LogLine]) -> None:
        """Refuse the beginning of several photos' hashes.

        Raises:
            LogError: with some of the photos.
        """
        found = sorted({self.photo_of(line) for line in lines} if self._is_prefix() else ())
        if len(found) > 1:
            raise LogError(
                f"{len(found)} photos begin with {self.photo}: {', '.join(found[:_FEW])}; give more of the digits"
            )

    def options(self) -> str:
        """What is wanted, as the options of `logs`."""
        ids = [f"--{name} {shlex.quote(value)}" for name, value in self._ids()]
        return " ".join([*ids, *(["--errors"] if self.errors else [])])

    def __str__(self) -> str:
        """What is wanted, in words."""
        about = " and ".join(f"{name} {value}" for name, value in self._ids())
        return ("error" if self.errors else "line") + (f" about {about}" if about else "")


@dataclass(frozen=True, slots=True)
class LogLines(StepResult):
    """The newest lines found, in the order of time; *more* says that there are older ones."""

    TABLE = "lines"

    lines: tuple[LogLine, ...]
    logs: tuple[str, ...]
    """What was read."""
    since: str
    wanted: str
    more: bool
    further_back: str = ""
    """The same command for all the time that lines are kept, where nothing was found and more may be there."""

    def begin(self) -> str:
        """The time before which `--follow` shows nothing: --since, or that of the oldest line which --limit left."""
        return self.lines[0].when if self.more and self.lines else self.since

    def unseen(self, before: "LogLines", begin: str) -> "LogLines":
        """The lines since *begin* that *before* does not have."""
        shown = set(before.lines)
        fresh = tuple(line for line in self.lines if line.when >= begin and line not in shown)
        return replace(self, lines=fresh, more=False)

    def text(self, *, whole: bool = False) -> Iterator[str]:
        """One line for each event, in this machine's time zone."""
        if self.more:
            yield "older lines are left out; --limit N shows more"
        yield from (_written(line, whole=whole) for line in self.lines)
        if not self.lines:
            where = ", ".join(self.logs) if len(self.logs) <= _FEW else f"{len(self.logs)} logs"
            ahead = from_iso8601(self.since) > _utc(time.time())
            further = "this time is in the future" if ahead else "older lines are not kept"
            further = f"further back: {self.further_back}" if self.further_back else further
            yield f"no {self.wanted} since {_local(self.since)} in {where}; {further}"


def _local(when: str) -> str:
    return f"{from_iso8601(when).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _written(line: LogLine, *, whole: bool) -> str:
    message = " ".join(line.message.split())
    if len(message) > _MAX_CHARACTERS and not whole:
        message = f"{message[:_MAX_CHARACTERS]}..."
    about = [f"{name} {value}" for name, value in (("photo", line.photo), ("execution", line.execution)) if value]
    return "  ".join(
        [_local(line.when), f"{line.log:<10}", f"{line.level:<7}", *([message] if message else []), *about]
    )


def read_logs(aws: Aws, functions: Sequence[str], since: str, wanted: LogFilter, limit: int) -> LogLines:
    """Read the newest *limit* lines of these logs, by default of all; a log that does not exist yet is empty.

    Raises:
        LogError: there is no such log or time, *limit* is no count, a photo's beginning is that of several, or nothing
            was found because there is no stack.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise LogError(f"limit is {limit!r}; give a whole number of at least 1, for example limit=100")
    asked = [str(each).rpartition("/")[2].removeprefix(f"{aws.name}-") for each in functions]
    sources = _chosen(aws, asked)
    start, pattern = _moment(since), wanted.pattern()
    found: list[LogLine] = []
    more = False
    for name, (group, prefix) in sources.items():
        lines, cut = _newest(aws, name, (group, prefix), start, pattern, wanted, limit)
        found += reversed(lines)
        more |= cut
    if not found and aws.stack.find() is None:
        raise LogError(f"environment {aws.env!r} has no stack, so nothing has logged; to create it, run: scones up")
    wanted.require_one_photo(found)
    found.sort(key=lambda line: line.when)
    more |= len(found) > limit
    age, again = time.time() - start, ("scones logs", f"--since {_KEPT_DAYS}d", wanted.options(), *asked)
    further = " ".join(filter(None, again)) if not found and 0 <= age < _KEPT_DAYS * _SECONDS["d"] else ""
    return LogLines(tuple(found[-limit:]), tuple(sources), to_iso8601(_utc(start)), str(wanted), more, further)


def _newest(  # noqa: PLR0913 - what to read, and what of it
    aws: Aws, name: str, where: tuple[str, str], start: float, pattern: str, wanted: LogFilter, limit: int
) -> tuple[list[LogLine], bool]:
    """The newest lines of one log, the newest first, and whether some were left."""
    found: list[LogLine] = []
    for number, page in enumerate(aws.logs.event_pages(where[0], start, pattern, where[1])):
        if number == _MAX_PAGES:
            return found, True
        for event in page:
            line = read_line(name, event.when, event.message)
            if line and wanted.wants(line):
                if len(found) == limit:
                    return found, True
                found.append(line)
    return found, False


def _chosen(aws: Aws, asked: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The log group of each name, and the beginning of its streams' names."""
    states, name = f"/aws/vendedlogs/states/{aws.name}", aws.name
    known = {each: (f"/aws/lambda/{name}-{each}", "") for each in function_names()}
    known |= {"workflow": (f"{states}-workflow", ""), "batch": (f"{states}-batch", "")}
    known |= {"retraining": (f"{states}-retrain", ""), "endpoint": (f"/aws/sagemaker/Endpoints/{name}", "")}
    known |= {"training": (TRAINING_GROUP, aws.prefix), "image": (f"/aws/codebuild/{name}-image", "")}
    for each in asked:
        if each not in known:
            raise LogError(f"nothing named {each!r} logs; there are {', '.join(sorted(known))}")
    return {each: where for each, where in known.items() if each in (asked or known)}


def _moment(since: str) -> float:
    """The time that *since* means, in seconds since 1970."""
    if not isinstance(since, str):
        form = f" as text: since={since.isoformat()!r}" if isinstance(since, datetime) else ""
        raise LogError(f"{since!r} is not a time{form or '; write for example 30m, 1h, 2d or 2026-11-30T14:00'}")
    if found := _SINCE.fullmatch(since.strip()):
        return max(0.0, time.time() - int(found[1]) * _SECONDS[found[2]])
    try:
        # Without a zone it is this machine's time, as it is shown.
        return max(0.0, datetime.fromisoformat(since.strip()).astimezone().timestamp())
    except (ValueError, OverflowError, OSError):
        raise LogError(f"{since!r} is not a time; write for example 30m, 1h, 2d or 2026-11-30T14:00") from None


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def _functions() -> frozenset[str]:
    return frozenset(function_names())


def read_line(log: str, when: float, text: str) -> LogLine | None:
    """Read one event; None for those that Lambda adds to each call of a function."""
    of_function = log in _functions()
    if of_function and _PLATFORM.match(text) and "Status: timeout" not in text:
        return None
    marked = _LEVEL.match(text)
    body = text[marked.end() if marked else 0 :].strip()
    known = _fields(body)
    level = _level(known, body, marked[1] if marked else body)
    if of_function and _words(known.get("type")).startswith("platform."):
        return None
    body = without_secrets(body)
    fields = _fields(body)
    photo, execution, arn = (_words(fields.pop(name, "")) for name in ("photo_id", "execution", "execution_arn"))
    if arn:
        # arn:aws:states:region:account:execution or express:machine:name
        execution = [*arn.split(":"), *[""] * 8][7]
    return LogLine(to_iso8601(_utc(when)), log, level, _message(log, fields) if fields else body, photo, execution)


def _fields(body: str) -> dict[str, Any]:
    found = _parsed(body)
    return found if isinstance(found, dict) else {}


def _parsed(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or list that *text* is as JSON, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        found: dict[str, Any] | list[Any] = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _words(value: object) -> str:
    """A value of JSON as a line shows it: text as it is, nothing for null, all else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."


def _level(fields: Mapping[str, Any], body: str, text: str) -> LogLevel:
    """How grave an event is: by its error, its level, the type of Step Functions' event, or else by its words."""
    raised = _RAISED.match(body)
    if error := _words(fields.get("error") or fields.get("errorType") or (raised[1] if raised else "")):
        refused = error in _NOT_AN_ERROR or outcome_of_error(error) is not Outcome.FAILED
        return LogLevel.WARNING if refused else LogLevel.ERROR
    if _words(fields.get("type")).endswith(_FAILED_EVENTS):
        return LogLevel.ERROR
    words = _words(fields.get("level") or fields.get("severity")).upper()
    if fields and not words and "event" not in fields:
        words = _words(fields.get("message") or fields.get("msg"))
    words = words if fields and text not in {"ERROR", "CRITICAL"} else text
    if _FAILURE.search(words):
        return LogLevel.ERROR
    return LogLevel.WARNING if _WARNING.search(words) else LogLevel.INFO


_BESIDE = {"timestamp", "time", "level", "requestId", "event_timestamp", "previous_event_id", "id"}
"""Fields that say again what the line shows, or what only AWS's own tools use."""


def _message(log: str, fields: Mapping[str, Any]) -> str:
    """The fields in words, the event or message first; a function's own name is said already."""
    first = [_words(fields[name]) for name in ("event", "type", "message") if fields.get(name) not in (None, "", log)]
    rest = [
        f"{name} {_words(value)}"
        for name, value in fields.items()
        if name not in {"event", "type", "message", *_BESIDE} and value not in ("", None)
    ]
    return ", ".join(first + rest)


def without_secrets(text: str) -> str:
    """*text* without what looks like a password, a key, a token or a signed URL: a line may quote any of them.

    JSON stays JSON: whatever has the name of a secret is replaced, and each text in it is redacted.
    """
    try:
        return _safe_text(text, 0)
    except RecursionError:
        return _safe_words(text)


def _safe_text(text: str, depth: int) -> str:
    if (value := _parsed(text)) is None:
        return _safe_words(text)
    safe = _safe(value, depth + 1)
    return text if safe == value else json.dumps(safe, ensure_ascii=False)


def _safe_words(text: str) -> str:
    for form in _SECRETS:
        text = form.sub(lambda found: f"{found[1]}{_HIDDEN}", text)
    return text


def _safe(value: object, depth: int) -> object:
    """A value of JSON without secrets, also where a name or an option comes before its value."""
    if depth > _MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        return _safe_text(value, depth)
    if isinstance(value, list):
        return [
            _HIDDEN
            if _is_secret(before) and (before.startswith("-") or len(value) == _PAIR) and each not in (None, "")
            else _safe(each, depth + 1)
            for before, each in zip([None, *value], value, strict=False)
        ]
    if isinstance(value, dict):
        named = any(key.lower() in {"name", "key"} and _is_secret(each) for key, each in value.items())
        return {
            _safe_words(key): _HIDDEN
            if each not in (None, "") and (_is_secret(key) or (named and key.lower() == "value"))
            else _safe(each, depth + 1)
            for key, each in value.items()
        }
    return value


def _is_secret(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and bool(_SECRET_NAME.search(name))

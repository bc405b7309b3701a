"""`logs`: an execution's lines from upload to decision; levels, times and secrets of what others wrote."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.test_cli import run
from scones.cli.environment import logs
from scones.cli.render import render
from scones.domain.naming import to_iso8601
from scones.pipeline import Pipeline
from scones.steps.logs import LogError, LogFilter, LogLevel, LogLine, LogLines, read_line, without_secrets
from scones_local.logs import pattern as matches
from tiny_model import plain_photo
from waiting import eventually

FUNCTIONS = ["serialize", "classify", "filter", "dispatch"]
NOON = 1_800_000_000.0


def line(text: str, log: str = "classify") -> LogLine:
    """The line that an event becomes."""
    found = read_line(log, NOON, text)
    assert found
    return found


def test_an_execution_is_followed_from_upload_to_decision(flow: Pipeline) -> None:
    """Its four lines, in order, by the execution or the photo; a name that it begins with is another execution."""
    sample = flow.upload("logged.png", plain_photo(226))
    (made,) = flow.classify_samples([sample]).executions
    assert eventually(lambda: len(flow.logs(execution=made.name).lines) == len(FUNCTIONS))
    found = flow.logs(execution=made.name)
    assert [each.log for each in found.lines] == FUNCTIONS
    assert {(each.photo, each.execution) for each in found.lines} == {(sample.sha256, made.name)}
    for photo in (sample.sha256, sample.sha256.upper(), sample.sha256[:12], sample.sha256[:-1].upper()):
        # Other tests may classify the same photo.
        about = [each for each in flow.logs(photo=photo).lines if each.execution == made.name]
        assert about == list(found.lines)
    assert flow.logs(["filter", f"{flow.aws.name}-classify"], execution=made.name).lines == found.lines[1:3]
    newest = flow.logs(execution=made.name, limit=1)
    assert (newest.lines, newest.more) == (found.lines[-1:], True)
    assert not flow.logs(execution=made.name, errors=True).lines
    assert not flow.logs(execution=made.name[:-1]).lines


def test_a_failed_call_is_an_error_and_a_refused_photo_is_none(flow: Pipeline) -> None:
    """The traceback of the function is one event, and names what it was."""
    sample = flow.upload("waits.png", plain_photo(127))
    (made,) = flow.classify_samples([sample]).executions
    reply = flow.aws.client("lambda").call("invoke", FunctionName=f"{flow.aws.name}-filter", Payload=b"[]")
    assert reply["FunctionError"]
    assert eventually(lambda: bool(flow.logs("filter", errors=True).lines))
    assert eventually(lambda: len(flow.logs("filter", execution=made.name).lines) == 1)
    (waits,) = flow.logs("filter", execution=made.name).lines
    assert (waits.level, "THRESHOLD_CONFIDENCE_NOT_MET" in waits.message) == (LogLevel.WARNING, True)
    errors = flow.logs("filter", errors=True).lines
    assert {each.level for each in errors} == {LogLevel.ERROR}
    assert not any("THRESHOLD_CONFIDENCE_NOT_MET" in each.message for each in errors)
    assert any("Traceback" in each.message for each in errors)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"functions": ["classifier"]}, "nothing named 'classifier' logs; there are batch, classify, classify-batch,"),
        ({"functions": ["scones-other-classify"]}, "nothing named 'scones-other-classify' logs"),
        ({"since": "yesterday"}, "'yesterday' is not a time; write for example 30m, 1h, 2d or 2026-"),
        ({"since": "-1h"}, "is not a time"),
        ({"since": ""}, "is not a time"),
        ({"since": None}, "None is not a time; write for example"),
        ({"since": datetime(2026, 11, 30, 14, tzinfo=UTC)}, "as text: since='2026-11-30T14:00:00+00:00'"),
        ({"limit": "3"}, "limit is '3'; give a whole number of at least 1"),
        ({"limit": -1}, "limit is -1; give"),
        ({"limit": 0}, "limit is 0; give"),
        ({"limit": 1.5}, "limit is 1.5; give"),
        ({"limit": True}, "limit is True; give"),
        ({"photo": ""}, "the photo is empty; give the SHA-256 of a photo, or its first 12 digits, or leave it out"),
        ({"execution": " "}, "the execution is empty; give the name that scones classify shows, or leave it out"),
        ({"photo": 5}, "the photo is no text, but 5; give"),
        ({"execution": 'a" ?"b'}, "is not the id of a photo or an execution"),
        ({"photo": "{ $.x = 1 }"}, "is not the id"),
        ({"execution": "a" * 129}, "is not the id"),
    ],
)
def test_what_cannot_be_read_is_said(flow: Pipeline, asked: dict[str, object], words: str) -> None:
    """One line, with what would do."""
    with pytest.raises(LogError, match=None) as said:
        flow.logs(**asked)  # type: ignore[arg-type]
    assert words in str(said.value)


def test_nothing_found_is_one_line_with_the_next_step(
    flow: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there is no stack, which the error says, and where the command names an environment."""
    found = render(flow.logs("reap", since="999999999w", execution="never"))
    assert found.startswith("no line about execution never since 1970-01-01 ")
    assert found.endswith("in reap; older lines are not kept")
    never = flow.logs(["reap", f"{flow.aws.name}-filter"], photo="b" * 64, execution="never", errors=True)
    again = f"scones logs --since 14d --photo {'b' * 64} --execution never --errors reap filter"
    assert (never.further_back, render(never).endswith(f"in filter, reap; further back: {again}")) == (again, True)
    assert render(flow.logs(execution="never")).endswith(
        "in 15 logs; further back: scones logs --since 14d --execution never"
    )
    assert render(flow.logs("reap", since="2999-01-01")).endswith("in reap; this time is in the future")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("logs", "reap", "--env", "none-such", "--follow", "--json")
    assert (code, out) == (2, "")
    assert "leave out one of them" in err
    given = logs.make_context("logs", ["--photo", ""]).params
    assert (given["photo"], given["execution"]) == ("", None)


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ('{"event": "classify", "execution": "e", "photo_id": "p", "seconds": 0.25}', "INFO", "seconds 0.25"),
        ('{"event": "capture lost", "execution": "e", "error": "x"}', "ERROR", "capture lost, error x"),
        (
            '{"event": "classify", "execution": "", "error": "EndpointUnavailable"}',
            "ERROR",
            "error EndpointUnavailable",
        ),
        ('{"event": "classify", "error": "UnfamiliarPhoto"}', "WARNING", "error UnfamiliarPhoto"),
        ('{"event": "classify", "error": "NotAPhoto"}', "WARNING", "error NotAPhoto"),
        (
            '[WARNING]\t2026-11-30T14:00:00.1Z\tr-1\t{"event": "monitoring run", "photos": 3}',
            "INFO",
            "monitoring run, photos 3",
        ),
        ("[WARNING]\t2026-11-30T14:00:00.1Z\tr-1\tslow", "WARNING", "slow"),
        ('{"event": "x", "error": "", "token": 5}', "INFO", "token [secret]"),
        ('{"error": ["x"]}', "ERROR", 'error ["x"]'),
        ('{"error": {"a": [1, null, true]}, "event": "x"}', "ERROR", 'error {"a": [1, null, true]}'),
        ('{"message": {"a": [1, null, true]}, "type": [null]}', "INFO", '[null], {"a": [1, null, true]}'),
        ('{"type": {"a": 1}, "level": ["ERROR"], "message": "m"}', "ERROR", "m"),
        (
            '[ERROR] UnfamiliarPhoto: {"a": 1}\rTraceback (most recent call last):\r  File',
            "WARNING",
            "UnfamiliarPhoto: {",
        ),
        ("[ERROR] THRESHOLD_CONFIDENCE_NOT_MET: {}\rTraceback (most recent call last):\r", "WARNING", "NOT_MET: {"),
        ("[ERROR] KeyError: 'a'\rTraceback (most recent call last):\r  File", "ERROR", "KeyError: 'a'\rTraceback"),
        ("2026-11-30T14:00:00Z r-1 Task timed out after 3.00 seconds", "ERROR", "Task timed out"),
        ("REPORT RequestId: r-1\tDuration: 3000 ms\tStatus: timeout", "ERROR", "Status: timeout"),
        ("RequestId: r-1 Error: Runtime exited with error: exit status 1", "ERROR", "Runtime exited"),
        ('{"level": "error", "message": "bad", "requestId": "r"}', "ERROR", "bad"),
        ('{"level": "WARN", "message": "odd"}', "WARNING", "odd"),
        ('{"type": "TaskFailed", "id": "3", "execution_arn": "a:a:a:a:a:express:m:name:u"}', "ERROR", "TaskFailed"),
        ('{"type": "ExecutionTimedOut", "execution_arn": "a:a:a:a:a:execution:m:name"}', "ERROR", "ExecutionTimedOut"),
        ("epoch=1 train_loss=0.2", "INFO", "epoch=1"),
        ("{broken", "INFO", "{broken"),
        ("[1]", "INFO", "[1]"),
        ("{" * 100_000, "INFO", "{{"),
    ],
)
def test_every_form_of_event_has_its_level_and_message(text: str, level: str, message: str) -> None:
    """Our functions' JSON, Lambda's own lines, Step Functions' events, and text of anything else."""
    found = line(text)
    assert (found.level, message in found.message) == (level, True)
    if "name" in text:
        assert found.execution == "name"


@pytest.mark.parametrize("log", ["training", "image", "endpoint", "classify"])
@pytest.mark.parametrize(
    "text",
    [
        "error: disk full",
        "  error: 3 files are missing",
        "fatal: bad",
        "Fatal: bad",
        "error[E0425]: cannot find value",
        "panic: runtime error",
        "Killed",
        "./run.sh: line 3:    12 Killed                  python train.py",
        "Last State: Terminated, Reason: OOMKilled",
        "signal: killed",
        "CUDA out of memory",
        "Segmentation fault (core dumped)",
        "time=12:00 level=error msg=x",
        'level="fatal" msg=x',
        '{"level":"error","event":"x"}',
        '{"severity":"Critical","message":"x"}',
        '{"msg":"error: disk full"}',
        '{"message": "Killed"}',
        '{"errorMessage": "x", "errorType": "KeyError"}',
        '[ERROR]\t2026-11-30T14:00:00.1Z\tr-1\t{"event": "x"}',
        "2026/11/30 [error] 7#7: upstream",
        "[Container] 2026/11/30 14:00:00 Phase complete: BUILD State: FAILED",
        "Phase context status code: COMMAND_EXECUTION_ERROR Message: x",
        "make: *** [Makefile:3: all] Error 2",
        "END of data: Error: x",
        "START failed: OSError: x",
        "REPORT: ValueError: x",
    ],
)
def test_every_form_of_error_is_one_and_is_asked_of_cloudwatch(log: str, text: str) -> None:
    """Of functions, training jobs and builds alike; the filter of `--errors` lets it pass."""
    assert line(text, log).level is LogLevel.ERROR
    assert matches(LogFilter(errors=True).pattern())(text)


@pytest.mark.parametrize(
    "text",
    [
        "error: 0.05",
        "epoch 3, train error: 1.5e-3, val error: 2%",
        "error: 0.05 loss: 0.2",
        "0 errors",
        "val_error: 0.1 test-error: low",
        "error_rate=0.1",
        "level=info errors=0",
        '{"level": "INFO", "message": "error: x"}',
        '{"event": "x", "message": "error: x"}',
    ],
)
def test_a_measure_of_errors_is_no_error(text: str) -> None:
    """As training logs it."""
    assert line(text, "training").level is LogLevel.INFO


@pytest.mark.parametrize("log", ["training", "image", "endpoint", "workflow"])
@pytest.mark.parametrize("text", ["START RequestId: r", "END of data", "REPORT RequestId: r", '{"type": "platform.x"}'])
def test_no_line_of_what_is_not_a_function_is_left_out(log: str, text: str) -> None:
    """Whatever word it begins with."""
    assert read_line(log, NOON, text)


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: r",
        "END RequestId: r",
        "REPORT RequestId: r\tDuration: 1",
        "INIT_START Runtime Version: python:3.11.v1",
        "INIT_REPORT Init Duration: 100 ms",
        "EXTENSION\tName: x\tState: Ready",
        "XRAY TraceId: 1-2",
        '{"type": "platform.start"}',
    ],
)
def test_what_lambda_adds_to_each_call_is_no_line(text: str) -> None:
    """It says nothing about a photo."""
    assert read_line("classify", NOON, text) is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("error", "type", "level", "event", "message", "photo_id", "execution", "execution_arn", "password", "name")


@given(
    st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=9), _VALUES, max_size=5).map(json.dumps)
    | st.text()
    | st.text().map(lambda rest: f'{{"error": {rest}')
)
@example('{"error": ' + "[" * 900 + "]" * 900 + "}")
@example('{"error": ' + "[" * 300 + '"' + "[" * 300 + "]" * 300 + '"' + "]" * 300 + "}")
@example('{"error": ' + "9" * 5000 + "}")
@example('{"photo_id": "\\ud800", "execution_arn": 5}')
def test_no_line_that_anyone_writes_breaks_reading(text: str) -> None:
    """Whatever JSON or text it is, the line is shown or is one of Lambda's own."""
    found = read_line("classify", NOON, text)
    assert found is None or isinstance(render(LogLines((found,), ("x",), "", "", more=False)), str)


@pytest.mark.parametrize(
    ("value", "shown"), [("5", "5"), ('["a", "b"]', '["a", "b"]'), ('{"a": null}', '{"a": null}'), ("null", "")]
)
@pytest.mark.parametrize("field", ["photo_id", "execution"])
def test_a_photo_or_execution_that_is_no_text_is_shown_as_json(field: str, value: str, shown: str) -> None:
    """Not as Python writes it."""
    found = line(f'{{"event": "x", "{field}": {value}}}')
    assert (found.photo if field == "photo_id" else found.execution) == shown


SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"  # noqa: S105 - of AWS's documentation


@pytest.mark.parametrize(
    "text",
    [
        f'{{"event": "x", "aws_secret_access_key": "{SECRET}"}}',
        f"aws_session_token={SECRET}",
        f"{{'password': '{SECRET}'}}",
        f'nested {{\\"token\\": \\"{SECRET}\\"}}',
        f"SecretAccessKey : {SECRET}, next",
        f"Authorization: Bearer {SECRET}",
        f"authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={SECRET}",
        f"GET https://b.s3.amazonaws.com/k?X-Amz-Expires=1&X-Amz-Signature={SECRET}&x=1",
        f"https://user:{SECRET}@host/path",
        f"posted to https://hooks.slack.com/services/T0/B0/{SECRET}",
        f"posted to https://corp.webhook.office.com/webhookb2/{SECRET}",
        f"POST http://127.0.0.1:9/services/T0/B0/{SECRET} refused",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY----- end",
        f"-----BEGIN PRIVATE KEY-----\r{SECRET}",
        f"client_secret={SECRET}&grant=x",
        f"API-Key: {SECRET}",
        f'{{"event": "x", "token": {SECRET}, "a": 1}}',
        f'{{"event": "x", "request": {{"headers": {{"Authorization": "Bearer {SECRET}"}}}}}}',
        f'{{"event": "x", "body": "{{\\"client_secret\\": \\"{SECRET}\\"}}"}}',
        f"pwd={SECRET}",
        f"db.passphrase: {SECRET}",
        f"run --password {SECRET} --host x",
        f"run --db-password '{SECRET}'",
        f"['run', '--api-key', '{SECRET}']",
        f"Cookie: a=b; session={SECRET}",
        f'Set-Cookie: sid="{SECRET}"; Path=/',
        f'Authorization: Digest username="u", response="{SECRET}"',
        f"curl -H 'Cookie: a=\"b\"; c={SECRET}' https://host",
        f"https://a.blob.core.windows.net/c/b?sig={SECRET}%3D",
        f'api_keys: ["k1", "{SECRET}"]',
        f"got {{'password': {{'a': 'b', 'c': '{SECRET}'}}}}",
        f'"password":"a\\"{SECRET}"',
        f'nested {{\\"password\\": \\"a\\\\\\"{SECRET}\\"}}',
        f"{{'password': \"it's {SECRET}\"}}",
        f"('password', '{SECRET}')",
        f"password := {SECRET}",
        f"password=b'{SECRET}'",
        f"password=SecretStr('{SECRET}')",
        f"password=a,b&{SECRET}",
        f"<password>{SECRET}</password>",
        f'got {{"password":\n {{"a": "{SECRET}"}}}}',
        f"curl -u user:{SECRET} https://x",
        f"postgres://u:p@{SECRET}@h/db",
    ],
)
def test_no_secret_that_a_line_quotes_is_shown(text: str) -> None:
    """Neither in text nor in JSON: the result itself does not have it."""
    found = line(text)
    assert SECRET not in found.message
    assert "[secret]" in found.message


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": ["k1", SECRET]},
        {"password": {"a": SECRET}},
        {"password": {"a": [{"b": SECRET}]}},
        {"password": f'a"{SECRET}'},
        {"password": f"a\\'\"{SECRET}"},
        {"password": 4715081516},
        {"db": {"passwords": [4715081516]}},
        {"smtp_pass": SECRET},
        {"Set-Cookie": [f"a={SECRET}"]},
        {"headers": {"cookie": f"a=b; c={SECRET}"}},
        {"sig": SECRET},
        {"pass": SECRET},
        {"password1": SECRET},
        {"headers": [["Cookie", SECRET]]},
        {"apiKey": SECRET},
        {"command": ["run", "--password", SECRET, "-x"]},
        {"environment": [{"name": "DB_PASSWORD", "value": SECRET, "type": "PLAINTEXT"}]},
        {"body": json.dumps({"password": f'a"{SECRET}'})},
        {"body": json.dumps({"body": json.dumps([{"token": {"a": SECRET}}])})},
        {"message": f"run --password {SECRET}"},
        {"message": f"GET https://a.blob.core.windows.net/b?sig={SECRET}"},
        {f"https://user:{SECRET}@host/": 1},
    ],
)
def test_json_keeps_its_other_fields_without_its_secrets(fields: dict[str, object]) -> None:
    """A secret of any type, however nested; photo and execution are still known."""
    found = line(json.dumps({**fields, "event": "e", "photo_id": "p1", "execution": "e1", "seconds": 2}))
    assert SECRET not in found.message
    assert "4715081516" not in found.message
    assert "[secret]" in found.message
    assert (found.photo, found.execution) == ("p1", "e1")
    assert found.message.startswith("e, ")
    assert found.message.endswith("seconds 2")


@pytest.mark.parametrize(
    "text",
    [
        "glpat-" + "a1" * 10,
        "sk-" + "a1" * 20,
        "sk-proj-" + "a1" * 20,
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a" * 36,
        "xoxb-12345678-abc",
        "eyJhbGciOi.eyJzdWIiOi.c2ln",
    ],
)
def test_a_secret_is_known_by_its_form_alone(text: str) -> None:
    """Whatever comes before it."""
    assert without_secrets(f"found {text} there") == "found [secret] there"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "a." * 100_000,
        "token" * 50_000,
        "https://" * 30_000,
        "eyJ-" * 60_000,
        "-----BEGIN " * 20_000,
        "--token" * 40_000,
        "pwd:\\" * 9_000,
    ],
)
def test_a_long_line_takes_no_long_time(text: str) -> None:
    """The forms of secrets are searched in time that grows with the line; else this test would not end."""
    assert without_secrets(text) == text


@pytest.mark.parametrize("bad", ["\x1b[2J", "\x1b]0;title\x07", "\u202e", "\x00", "\x9b31m", "\u2028"])
def test_no_escape_of_a_line_reaches_the_terminal(bad: str) -> None:
    """Each event is one line, and says visibly what it had."""
    found = LogLines(
        (line(f"a{bad}b\r\nc"), line(json.dumps({"event": bad, "execution": bad}))), ("x",), "", "", more=False
    )
    shown = render(found)
    assert bad not in shown
    assert len(shown.splitlines()) == 2


def test_a_line_shows_local_time_log_level_message_photo_and_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order; the end of a long message is left for --verbose."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        text = json.dumps({"event": "classify", "photo_id": "p1", "execution": "e1", "cause": "c" * 1000})
        shown = render(LogLines((line(text),), ("classify",), "", "", more=True)).splitlines()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown[0] == "older lines are left out; --limit N shows more"
    assert shown[1].startswith("2027-01-15 17:00:00 JST  classify    INFO     cause ccc")
    assert shown[1].endswith("ccc...  photo p1  execution e1")


@pytest.mark.parametrize(
    ("wanted", "pattern"),
    [
        (LogFilter(), ""),
        (LogFilter("p"), '"p"'),
        (LogFilter("p", "e", errors=True), '"p" "e"'),
        (LogFilter("A1" * 32), f'"{"a1" * 32}"'),
        (LogFilter("a1" * 31, "e"), '"e"'),
    ],
)
def test_cloudwatch_filters_by_the_ids(wanted: LogFilter, pattern: str) -> None:
    """Optional terms would count for nothing beside them."""
    assert wanted.pattern() == pattern


HASH, OTHER = "a1b2c3d4e5f6" + "a" * 52, "a1b2c3d4e5f6" + "b" * 52


@pytest.mark.parametrize(
    ("wanted", "text", "wants"),
    [
        (LogFilter("bicycle"), '{"event": "x", "label": "bicycle"}', False),
        (LogFilter("bicycle"), "a bicycle came", False),
        (LogFilter("bicycle"), '{"event": "x", "photo_id": "bicycle"}', True),
        (LogFilter(execution="classify"), "classify failed", False),
        (LogFilter(execution="classify"), '{"event": "x", "execution": "classify"}', True),
        (LogFilter(execution="4be5-11ee-8c99"), "[ERROR] 4be5-11ee-8c99 failed", True),
        (LogFilter(execution="4be5-11ee-8c99"), "[ERROR] 4be5-11ee-8c99-b failed", False),
        (LogFilter(HASH.upper()), f'{{"event": "x", "photo_id": "{HASH}"}}', True),
        (LogFilter(HASH[:12].upper()), f"UnreadablePhoto: {{'photo_id': '{HASH}'}}", True),
        (LogFilter(HASH[:11]), f'{{"event": "x", "photo_id": "{HASH}"}}', False),
        (LogFilter(HASH[1:20]), f'{{"event": "x", "photo_id": "{HASH}"}}', False),
        (LogFilter("123456789012"), "arn:aws:states:eu-west-1:123456789012:x failed", False),
        (LogFilter(HASH), f'{{"event": "x", "photo_id": "{OTHER}"}}', False),
        (LogFilter(HASH, errors=True), f'{{"event": "x", "photo_id": "{HASH}"}}', False),
    ],
)
def test_only_lines_about_the_photo_or_execution_are_wanted(wanted: LogFilter, text: str, wants: bool) -> None:
    """Not those that have its name as a word; a hash may be in capitals, or its first digits."""
    assert wanted.wants(line(text)) is wants


def test_the_first_digits_of_several_photos_are_refused() -> None:
    """With the photos; those of one photo are not."""
    lines = [line(f'{{"event": "x", "photo_id": "{each}"}}') for each in (HASH, OTHER, HASH)]
    LogFilter(HASH[:12]).require_one_photo(lines[:1] * 2)
    LogFilter().require_one_photo(lines)
    with pytest.raises(LogError, match=f"2 photos begin with {HASH[:12]}: {HASH}, {OTHER}; give more"):
        LogFilter(HASH[:12]).require_one_photo(lines)


@pytest.mark.parametrize(
    ("first", "limited", "seconds", "shown"),
    [
        ([], False, 100, [100, 119]),
        ([110], False, 100, [100, 119]),
        ([110], True, 0, [119]),
        ([], False, 120, []),
    ],
)
def test_follow_shows_no_line_from_before_since_or_before_the_limit(
    first: list[int], limited: bool, seconds: int, shown: list[int]
) -> None:
    """The next look reads two minutes, which may begin earlier than what was asked for."""

    def lines(numbers: list[int], *, more: bool = False) -> LogLines:
        made = [read_line("classify", NOON + each, f"line {each}") for each in numbers]
        since = to_iso8601(datetime.fromtimestamp(NOON + seconds, UTC))
        return LogLines(tuple(filter(None, made)), ("classify",), since, "line", more)

    before = lines(first, more=limited)
    found = lines([50, 99, 100, *first, 119]).unseen(before, before.begin())
    assert (found.more, [each.message for each in found.lines]) == (False, [f"line {each}" for each in shown])

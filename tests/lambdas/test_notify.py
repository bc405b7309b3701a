"""Alerts by mail and to Slack: from the setting to a real web server; what fails harms nothing and names no URL."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.deployment.template import CAPTURE_PARAMETER, template_for
from scones.domain.errors import SettingsError
from scones.domain.progress import Silent
from scones.lambdas import notify
from scones.pipeline import Pipeline
from steps.test_up import Heard
from waiting import eventually

SECRET = "services/T0/B0/s3cretOfTheTest"  # noqa: S105 - of a server of this test


class Slack(ThreadingHTTPServer):
    """A server in Slack's place: it keeps what is posted, and answers with the next of *answers*, then with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.texts: list[str] = []
        self.answers: list[int] = []

    @property
    def hook(self) -> str:
        """The URL of its webhook."""
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class _Posted(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.texts.append(body["text"])
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.texts.append("followed")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A server that runs while the test does."""
    server = Slack()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_setting_sends_alerts_by_mail_and_to_slack(aws: Aws, settings: Settings, slack: Slack) -> None:
    """`up` says whom it asks to confirm, and shows the webhook nowhere; without the setting both end."""
    heard, own_flow = Heard(), Pipeline(aws, settings, Silent())
    wanted = replace(settings, notify=("b@example.com", slack.hook, "ops@example.com"))
    topic = Pipeline(aws, wanted, heard).up().alert_topic_arn
    told = "\n".join(heard.lines)
    assert "alerts are mailed to b@example.com, ops@example.com: each must first confirm AWS's mail" in told
    assert "alerts are posted to 1 Slack webhook" in told

    def subscribed() -> list[tuple[str, str]]:
        found = aws.client("sns").call("list_subscriptions_by_topic", TopicArn=topic)["Subscriptions"]
        return sorted((each["Protocol"], each["Endpoint"].rpartition(":")[2]) for each in found)

    mailed = [("email", "b@example.com"), ("email", "ops@example.com")]
    assert subscribed() == [*mailed, ("lambda", f"{aws.name}-notify")]
    aws.notices.publish(topic, "Scones high: darker photos", "To see it, run: scones status")
    assert eventually(lambda: len(slack.texts) == 1)
    assert slack.texts[0].splitlines()[0] == "Alert: Scones high: darker photos"
    assert "Next: scones status" in slack.texts[0]
    # A change that another command makes keeps the webhook, which CloudFormation shows to none.
    stack = aws.stack.must_find()
    assert SECRET not in repr(stack)
    changed = {**stack.parameters, CAPTURE_PARAMETER: "yes"}
    aws.stack.deploy(template_for(aws, changed), changed, heard.tell)
    calm = replace(wanted, endpoint_lifetime_hours=5, notify=("ops@example.com", slack.hook, "b@example.com"))
    again = Heard()
    Pipeline(aws, calm, again).up()
    assert not any("Subscription" in line for line in again.lines)
    slack.answers = [404]
    aws.notices.publish(topic, "second", "x")
    assert eventually(lambda: any("status 404" in each.message for each in own_flow.logs("notify").lines))
    shown = [*heard.lines, *again.lines, *map(str, own_flow.logs("notify").lines), str(own_flow.status())]
    assert SECRET not in "\n".join(shown)
    Pipeline(aws, settings, Silent()).up()
    assert subscribed() == []


def test_on_aws_a_webhook_of_this_machine_is_refused(aws: Aws, settings: Settings) -> None:
    """Before anything is shown or made."""
    heard = Heard()
    there = replace(settings, notify=(f"http://127.0.0.1:80/{SECRET}",), endpoint_url="https://sns.amazonaws.com")
    with pytest.raises(SettingsError, match="only a local cloud"):
        Pipeline(aws, there, heard).up()
    assert not heard.lines


@pytest.mark.parametrize(
    ("answers", "posted", "texts", "errors"),
    [
        ([200], 1, 1, [None]),
        ([503, 200], 1, 2, ["status 503", None]),
        ([429, 429], 0, 2, ["status 429", "status 429"]),
        ([403], 0, 1, ["status 403"]),
        ([302], 0, 1, ["status 302"]),
    ],
)
def test_an_answer_decides_whether_it_is_posted_again(
    slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[int],
    posted: int,
    texts: int,
    errors: list[str | None],
) -> None:
    """Once more where that may help; no redirect is followed, and the log names no URL."""
    slack.answers = list(answers)
    monkeypatch.setattr(notify, "_PAUSE_SECONDS", 0.0)
    assert post(monkeypatch, slack.hook) == {"posted": posted}
    printed = capsys.readouterr().out
    assert len(slack.texts) == texts
    assert [json.loads(line).get("error") for line in printed.splitlines()] == errors
    assert SECRET not in printed


def test_a_server_that_does_not_answer_is_an_error_of_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The function does not fail, and another webhook is posted to all the same."""
    monkeypatch.setattr(notify, "_PAUSE_SECONDS", 0.0)
    closed = Slack()
    closed.server_close()
    assert post(monkeypatch, f"{closed.hook} http://169.254.169.254/latest/meta-data") == {"posted": 0}
    printed = capsys.readouterr().out
    assert [json.loads(line)["error"] for line in printed.splitlines()] == ["ConnectionRefusedError"] * 2
    assert SECRET not in printed


def post(monkeypatch: pytest.MonkeyPatch, hooks: str) -> dict[str, object]:
    """Call the function with one message, as the local cloud does."""
    for name, value in {"SLACK_HOOKS": hooks, "SCONES_ENV": "dev", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    return notify.handler({"Records": [{"Sns": {"Subject": "s", "Message": "m"}}]}, None)

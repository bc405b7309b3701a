"""Where alerts may be sent, and what Slack is told: what, since when, the next command, a link."""

import json
from typing import Any

import pytest

from scones.config.settings import Settings, merge, to_environment
from scones.domain.errors import SettingsError
from scones.domain.notification import emails_and_webhooks, is_webhook, slack_text

HOOK = "https://hooks.slack.com/services/T012AB/B345CD/s3cretS3cret"
LOCAL = "http://127.0.0.1:8080/services/T0/B0/s3cret"


def settings(value: object) -> Settings:
    """The settings with this `notify`."""
    return merge(Settings(), {"notify": value}, "scones.toml")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("ops@example.com", (["ops@example.com"], [])),
        (HOOK, ([], [HOOK])),
        ([HOOK, "a@b.org", HOOK], (["a@b.org"], [HOOK])),
        (f"a@b.org, {HOOK}", (["a@b.org"], [HOOK])),
        ("", ([], [])),
        ([], ([], [])),
        ("https://hooks.slack-gov.com/services/T/B/x", ([], ["https://hooks.slack-gov.com/services/T/B/x"])),
    ],
)
def test_one_target_or_a_list_of_both_kinds_is_read(value: object, found: tuple[list[str], list[str]]) -> None:
    """From the file, a variable, or Python; each counts once."""
    assert emails_and_webhooks(settings(value).notify, local=False) == found


INNER = [
    "https://hooks.slack.com.evil.com/services/T/B/x",
    "https://evil.com/services/T/B/x",
    "https://hooks.slack.com@evil.com/services/T/B/x",
    "https://evil.com#@hooks.slack.com/services/T/B/x",
    "https://hooks.slack.com:8443/services/T/B/x",
    "http://hooks.slack.com/services/T/B/x",
    "https://hooks.slack.com/services/T/B/x?to=y",
    "https://hooks.slack.com/services/../T/B/x",
    "https://hooks.slack.com/services/T/B/x\n",
    "https://hooks.slack.com/",
    "https://hooksXslack.com/services/T/B/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:80/x",
    "http://localhost:80/x",
    "http://127.0.0.1.evil.com:80/x",
    "http://127.0.0.1:80@evil.com/x",
    "http://0x7f000001:80/x",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("value", [*INNER, "ops@", "@example.com", "a b@example.com", "a@example", "a@b.org\n", "x", 5])
def test_nothing_else_is_accepted_and_no_value_is_shown(value: object) -> None:
    """One clear error, which says what is allowed, and not what was given: it may be a secret."""
    with pytest.raises(SettingsError) as said:
        settings([value])
    assert str(said.value).startswith(
        "setting notify in scones.toml must be an e-mail address, a Slack webhook such as"
    )
    assert str(value) not in str(said.value).replace("https://hooks.slack.com/services/T0/B0/xyz", "")


@pytest.mark.parametrize("url", INNER)
@pytest.mark.parametrize("local", [True, False])
def test_the_function_asks_no_other_address(url: str, local: bool) -> None:
    """Whatever its variables have."""
    assert not is_webhook(url, local=local)


def test_a_webhook_of_this_machine_is_for_a_local_cloud() -> None:
    """On AWS, the error says what to write."""
    assert emails_and_webhooks(settings(LOCAL).notify, local=True) == ([], [LOCAL])
    with pytest.raises(SettingsError, match=r"which only a local cloud can reach; on AWS it must be https") as said:
        emails_and_webhooks(settings(LOCAL).notify, local=False)
    assert "s3cret" not in str(said.value)


def test_the_secret_is_neither_in_the_settings_text_nor_sent_to_the_functions() -> None:
    """What retraining gets as SCONES_SETTINGS, and what a traceback shows."""
    found = settings([HOOK, "ops@example.com"])
    assert "s3cret" not in repr(found) + to_environment(found)


def test_too_many_targets_are_refused() -> None:
    """Ten are enough."""
    with pytest.raises(SettingsError, match="a list of at most 10"):
        settings([f"a{number}@example.com" for number in range(11)])


ALERT = {
    "since": {"photo": 90, "time": "2026-11-30T11:00:00Z", "onset": 40, "onset_time": "2026-11-30T09:00:00Z"},
    "steps": [{"text": "Look", "command": ""}, {"text": "Do", "command": "scones review export --env live x.csv"}],
    "page": "s3://scones-live-1-eu-west-1/monitor/alerts/20261130-110000.html",
}


def notice(**members: Any) -> dict[str, Any]:
    """A message of the topic."""
    return {"Message": "", "Timestamp": "2026-11-30T12:00:00.000Z", "MessageAttributes": {}, **members}


def test_an_alert_has_cause_onset_command_and_the_page() -> None:
    """Four lines; the page opens in S3's console."""
    attributes = {"alert": {"Type": "String", "Value": json.dumps(ALERT)}}
    said = slack_text(notice(Subject="Scones high: darker photos", MessageAttributes=attributes), "live", "eu-west-1")
    page = "region=eu-west-1&amp;prefix=monitor/alerts/20261130-110000.html"
    assert said.splitlines() == [
        "Alert: Scones high: darker photos",
        "Since: 2026-11-30T09:00:00Z",
        "Next: scones review export --env live x.csv",
        f"Link: https://eu-west-1.console.aws.amazon.com/s3/object/scones-live-1-eu-west-1?{page}",
    ]


def test_an_alarm_of_cloudwatch_has_its_description_and_the_alarms_page() -> None:
    """It is JSON; the next command names the environment."""
    alarm = {
        "AlarmName": "scones-live-silence",
        "AlarmDescription": "No photo; see `scones review list`.",
        "StateChangeTime": "2026-11-30T10:00Z",
    }
    said = slack_text(notice(Subject="ALARM: x", Message=json.dumps(alarm)), "live", "us-gov-west-1").splitlines()
    assert said[:3] == [
        "Alert: scones-live-silence: No photo; see `scones review list --env live`.",
        "Since: 2026-11-30T10:00Z",
        "Next: scones status --env live",
    ]
    assert said[3].startswith("Link: https://us-gov-west-1.console.amazonaws-us-gov.com/cloudwatch/home?")


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("Its time ended. If you still need it, run: scones deploy --env live", "scones deploy --env live"),
        ("waits.\nto deploy it, run: scones retrain approve --env live; or not", "scones retrain approve --env live"),
        ("What to do now:\n1. Put it back\n   scones rollback --env live\n", "scones rollback --env live"),
        ("To go on, run: scones deploy 3", "scones deploy --env live 3"),
        ("AWS Budgets: you exceeded 80%", "scones status --env live"),
        ("[1, 2]", "scones status --env live"),
        ("{" * 50_000, "scones status --env live"),
    ],
)
def test_the_next_command_of_any_text_is_found(message: str, command: str) -> None:
    """The first that it says to run, or else `scones status`."""
    said = slack_text(notice(Message=message, Subject=None), "live", "us-east-1").splitlines()
    assert f"Next: {command}" in said
    assert "Since: 2026-11-30T12:00:00.000Z" in said


@pytest.mark.parametrize(
    "bad", ["<!channel>", "<https://evil.com|click>", "a & b", "x\x1b[2J", "a\nNext: rm -rf", "y" * 9000]
)
def test_what_others_wrote_is_one_plain_line(bad: str) -> None:
    """A class or a file may have any name: no mention, no link of another name, no line of its own."""
    said = slack_text(notice(Subject=f"Scones: {bad}"), "dev", "us-east-1")
    assert len(said.splitlines()) == 3
    assert not set("<>\x1b") & set(said)
    assert len(said) < 1000


@pytest.mark.parametrize(
    "value", ['{"since": 5, "steps": {"a": 1}, "page": []}', '{"steps": [null, 3]}', "[]", "no JSON"]
)
def test_a_broken_alert_is_still_said(value: str) -> None:
    """Its subject, time and the usual command."""
    said = slack_text(notice(Subject="s", MessageAttributes={"alert": {"Value": value}}), "dev", "us-east-1")
    assert said.splitlines()[0] == "Alert: s"

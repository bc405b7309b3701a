"""Notification: where alerts are sent besides their topic, and the short text of one for Slack. Standard library only.

A webhook's URL is a secret: whoever has it can post. No function here names it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from scones.domain.errors import SettingsError
from scones.domain.text import name_env, printable

_SLACK = r"https://hooks\.slack(?:-gov)?\.com/services/[A-Za-z0-9]{1,64}/[A-Za-z0-9]{1,64}/[A-Za-z0-9]{1,64}"
_LOCAL = r"http://127\.0\.0\.1:[0-9]{1,5}/[A-Za-z0-9_./-]{0,200}"
_EMAIL = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,62}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
TARGET_PATTERN: Final = rf"^(?:{_SLACK}|{_LOCAL}|{_EMAIL})\Z"
"""A target of alerts: an e-mail address, or the URL of an incoming webhook."""
MAX_TARGETS: Final = 10
_MAX_CHARACTERS = 500
_COMMAND = re.compile(r"(?:run: |^ +)(scones [^\n;]{1,200}?)(?=\.?$|[;\n]|\. )", re.MULTILINE)


def emails_and_webhooks(targets: Iterable[str], *, local: bool) -> tuple[list[str], list[str]]:
    """Tell the targets of the setting `notify` apart, each once.

    Raises:
        SettingsError: a webhook of this machine, where the function that posts runs on AWS.
    """
    found = list(dict.fromkeys(targets))
    hooks = [each for each in found if "@" not in each]
    if not all(is_webhook(each, local=local) for each in hooks):
        raise SettingsError(
            "setting notify has a webhook on 127.0.0.1, which only a local cloud can reach; on AWS it must be "
            "https://hooks.slack.com/services/..."
        )
    return [each for each in found if "@" in each], hooks


def is_webhook(url: str, *, local: bool) -> bool:
    """Whether *url* is a webhook of Slack's or, on a *local* cloud, of this machine: no other address is asked."""
    return bool(re.fullmatch(_SLACK, url) or (local and re.fullmatch(_LOCAL, url)))


def slack_text(notice: Mapping[str, Any], env: str, region: str) -> str:
    """What a message of the alert topic says in a few lines: what, since when, the next command and a link.

    *notice* is the `Sns` of a Lambda event: a notice of Scones', the JSON of a CloudWatch alarm, or a budget's text.
    """
    message = str(notice.get("Message", ""))
    alarm, alert = _json(message), _json(_text(notice, "MessageAttributes", "alert", "Value"))
    if "AlarmName" in alarm:
        name = str(alarm["AlarmName"])
        what, since, command = (
            f"{name}: {alarm.get('AlarmDescription') or ''}",
            str(alarm.get("StateChangeTime", "")),
            "",
        )
        link = f"{_console(region)}/cloudwatch/home?region={region}#alarmsV2:alarm/{quote(name)}"
    else:
        what = str(notice.get("Subject") or message.partition("\n")[0])
        since = _text(alert, "since", "onset_time") or _text(alert, "since", "time")
        command = _first_command(alert) or next(iter(_COMMAND.findall(message)), "")
        link = _page(_text(alert, "page"), region)
    lines = {
        "Alert": name_env(what, env),
        "Since": since or str(notice.get("Timestamp", "")),
        "Next": name_env(command or "scones status", env),
        "Link": link,
    }
    return "\n".join(f"{name}: {_safe(text)}" for name, text in lines.items() if text)


def _text(found: object, *names: str) -> str:
    """The text below these *names*; empty where there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def _first_command(alert: Mapping[str, Any]) -> str:
    steps = alert.get("steps")
    return next(filter(None, (_text(step, "command") for step in steps)), "") if isinstance(steps, list) else ""


def _safe(text: str) -> str:
    """*text* as one line that Slack shows as it is: no mention, no link of another name."""
    short = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
    return printable(" ".join(short.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _page(uri: str, region: str) -> str:
    """Where S3's console shows the object at *uri*."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"{_console(region)}/s3/object/{bucket}?region={region}&prefix={quote(key)}" if key else ""


def _console(region: str) -> str:
    domain = {"cn": "console.amazonaws.cn", "us-gov": "console.amazonaws-us-gov.com"}
    part = next((start for start in domain if region.startswith(f"{start}-")), "")
    return f"https://{region}.{domain.get(part, 'console.aws.amazon.com')}"

"""Notify: post each message of the alert topic to Slack; a failure is logged, and harms nothing."""

import json
import os
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from scones.domain.notification import is_webhook, slack_text
from scones.lambdas import log

TIMEOUT_SECONDS = 5.0
_ATTEMPTS = 2
_PAUSE_SECONDS = 1.0


class _NoRedirect(HTTPRedirectHandler):
    """Slack redirects no webhook: whoever does leads elsewhere."""

    def redirect_request(self, *_: object) -> None:
        """Follow none; the redirect is an error."""


_OPENER = build_opener(_NoRedirect, ProxyHandler({}))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Post the event's messages to every webhook; log how each attempt ended, without the URL."""
    # Only the local cloud sets an endpoint for the functions' calls of AWS.
    local = "AWS_ENDPOINT_URL" in os.environ
    hooks = [hook for hook in os.environ["SLACK_HOOKS"].split() if is_webhook(hook, local=local)]
    posted = 0
    for record in event.get("Records", ()):
        text = slack_text(record.get("Sns", {}), os.environ["SCONES_ENV"], os.environ.get("AWS_REGION", ""))
        posted += sum(_post(number, hook, text) for number, hook in enumerate(hooks, start=1))
    return {"posted": posted}


def _post(number: int, hook: str, text: str) -> bool:
    """Post *text*, again where that may help; whether it was received."""
    for attempt in range(1, _ATTEMPTS + 1):
        error, transient = _attempt(hook, text)
        log("slack", "", webhook=number, attempt=attempt, **({"error": error} if error else {}))
        if not error or not transient:
            break
        if attempt < _ATTEMPTS:
            time.sleep(_PAUSE_SECONDS)
    return not error


def _attempt(hook: str, text: str) -> tuple[str, bool]:
    """How a post failed, and whether another may succeed; an exception's message could name the URL."""
    request = Request(hook, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"})  # noqa: S310 - checked
    try:
        _OPENER.open(request, timeout=TIMEOUT_SECONDS).close()
    except HTTPError as error:
        return f"status {error.code}", error.code == 429 or error.code >= 500
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return type(reason if isinstance(reason, Exception) else error).__name__, True
    return "", False

"""Security: who may send a request to the console, and what a browser may do with its answers.

Another web page, open in the same browser, can send requests to 127.0.0.1, and another program on this machine can
open the port. So a request needs the cookie that the one-time link gave, must be addressed to the console by its own
name (DNS rebinding), and must come from one of its pages if it changes anything. Answers forbid the browser to run
inline code, to load from elsewhere, and to show the console in a frame.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scones.domain.errors import CommandError

MAX_PHOTO_BYTES = 24 << 20
"""The largest body of a form with a photo."""
MAX_BODY_BYTES = 64 << 10
"""The largest body of any other request."""
MAX_BODY_SECONDS = 60.0
"""A body that takes longer to arrive is refused."""
SIGN_IN = "/sign-in"
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
_MAX_SESSIONS = 100
_TOKEN_SECONDS = 24 * 3600
_SAFE = {"GET", "HEAD"}
_UNKNOWN = "This address belongs to a console of Scones. Open it with the link that the command printed."
_USED = (
    "This link was used already, or is not valid: each works once. "
    "Make another in the open console (Sign in elsewhere), or start the command again."
)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_DOCUMENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'"
)
"""The policy of a stored report: its own styles and pictures, and no scripts."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class ConsoleError(CommandError):
    """The console cannot start, or refuses a request; *status* is the HTTP status of the refusal."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Role(StrEnum):
    """What a session may do."""

    OPERATOR = "operator"
    """Everything, unless the console is read-only."""
    COURIER = "courier"
    """Send a photo, and see what became of it."""


_COURIER_PATHS = ("/courier", "/try", "/static/")


@dataclass(slots=True)
class Sessions:
    """The links that may be used once, and the sessions that they opened; both end with the process."""

    _links: dict[str, tuple[Role, float]] = field(default_factory=dict)
    _sessions: dict[str, Role] = field(default_factory=dict)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def new_link(self, role: Role) -> str:
        """Make a token that opens one session within a day."""
        token = secrets.token_urlsafe(32)
        self._links[token] = role, time.monotonic() + _TOKEN_SECONDS
        while len(self._links) > _MAX_SESSIONS:
            del self._links[next(iter(self._links))]
        return token

    def open(self, token: str) -> tuple[str, Role] | None:
        """Use up a token, and return the new session's name and role; None if it is not valid."""
        found = [known for known in self._links if hmac.compare_digest(known.encode(), token.encode())]
        if not found:
            return None
        role, until = self._links.pop(found[0])
        if time.monotonic() > until:
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = role
        while len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session, role

    def role(self, session: str) -> Role | None:
        """The role of a session; None if it is not open."""
        return self._sessions.get(session)

    def close(self, session: str) -> None:
        """End a session."""
        self._sessions.pop(session, None)

    def csrf(self, session: str) -> str:
        """The token that forms of this session carry."""
        return hmac.new(self._secret, session.encode(), "sha256").hexdigest()


class Guard:
    """The outermost application: it passes on what may reach the console, and adds the headers to all answers."""

    def __init__(self, app: ASGIApp, sessions: Sessions, hosts: Iterable[str], cookie: str, *, read_only: bool) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = {host.lower() for host in hosts}
        self._cookie = cookie
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(scope, send)
        headers = Headers(scope=scope)
        refusal = self._refuse(scope, headers)
        if refusal is None and scope["path"] == SIGN_IN:
            refusal = self._sign_in(scope)
        if refusal is None:
            session = self._session(headers)
            role = self._sessions.role(session)
            refusal = self._refuse_role(scope, role)
            state = scope.setdefault("state", {})
            state.update(session=session, role=role, csrf=self._sessions.csrf(session), read_only=self._read_only)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        body = _LimitedBody(receive, MAX_PHOTO_BYTES if scope["path"] == "/try" else MAX_BODY_BYTES)
        if (declared := headers.get("content-length")) and int(declared) > body.max_bytes:
            await _plain(413, f"The body is larger than {body.max_bytes:,} bytes.")(scope, receive, send)
            return
        await self._app(scope, body, send)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse what was not sent to the console by its own name, or comes from another site."""
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _plain(421, "This server answers to its own address only.")
        if not headers.get("content-length", "0").isdecimal():
            return _plain(400, "Content-Length is not a number.")
        site = headers.get("sec-fetch-site", "")
        if scope["method"] in _SAFE:
            # A link from elsewhere may open a page; nothing else may be loaded from there.
            embedded = site == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
            return _plain(403, "Another site may not load this.") if embedded else None
        origin = headers.get("origin")
        same = site == "same-origin" if origin is None else origin.lower() == f"http://{hosts[0]}"
        return None if same else _plain(403, "The request did not come from a page of this console.")

    def _sign_in(self, scope: Scope) -> Response:
        if scope["method"] != "GET":
            return _plain(405, "Open the link in a browser.")
        _, _, token = scope["query_string"].decode("latin-1").partition("token=")
        opened = self._sessions.open(token)
        if opened is None:
            return _page(403, _USED)
        session, role = opened
        response = RedirectResponse("/courier" if role is Role.COURIER else "/", 303)
        response.set_cookie(self._cookie, session, httponly=True, samesite="strict", path="/")
        return response

    def _session(self, headers: Headers) -> str:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ""
        return cookies[self._cookie].value if self._cookie in cookies else ""

    def _refuse_role(self, scope: Scope, role: Role | None) -> Response | None:
        path = scope["path"]
        if role is None:
            return None if path.startswith("/static/") else _page(401, _UNKNOWN)
        if role is Role.COURIER and not path.startswith(_COURIER_PATHS):
            return RedirectResponse("/courier", 303) if path == "/" else _page(403, "Couriers may only send photos.")
        if self._read_only and scope["method"] not in _SAFE:
            return _page(403, "This console is read-only: it was started with --read-only.")
        return None


class _LimitedBody:
    """The body of a request, which ends with an error if it is too large or too slow."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self.max_bytes = max_bytes
        self._bytes = 0
        self._complete = False
        self._until = time.monotonic() + MAX_BODY_SECONDS

    async def __call__(self) -> Message:
        """Receive the next part."""
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except TimeoutError as error:
            raise ConsoleError("The body of the request did not arrive in time.", 408) from error
        self._bytes += len(message.get("body", b""))
        if self._bytes > self.max_bytes:
            raise ConsoleError(f"The body is larger than {self.max_bytes:,} bytes.", 413)
        self._complete = not message.get("more_body", False)
        return message


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            stored = scope.get("state", {}).get("document", False)
            headers["Content-Security-Policy"] = _DOCUMENT_POLICY if stored else _POLICY
            headers["X-Frame-Options"] = "SAMEORIGIN" if stored else "DENY"
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def check_csrf(state: MutableMapping[str, Any], given: object) -> None:
    """Refuse a form that no page of this session has made.

    Raises:
        ConsoleError: the token is missing, or another session's.
    """
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), str(state["csrf"]).encode()):
        raise ConsoleError("This form has expired: reload the page, and send it again.", 403)


def _plain(status: int, message: str) -> Response:
    return PlainTextResponse(message, status, headers={"Connection": "close"} if status == 413 else None)


def _page(status: int, message: str) -> Response:
    # Our own words only: nothing of the request is in them.
    style = '<link rel="stylesheet" href="/static/console.css">'
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Scones</title>{style}'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{head}</head>'
        f"<body><main><h1>Scones</h1><p>{message}</p></main></body></html>",
        status,
    )

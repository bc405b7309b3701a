"""What the console refuses, sent to a real server: every request that is not one of its own pages'."""

import http.client
import re
import socket
import time
from collections.abc import Iterator

import pytest

from console.consoles import Visitor, no_environment, serving
from scones.cli.render import render
from scones.console import security
from scones.console.actions import ACTIONS
from scones.console.app import Console
from scones.console.server import ConsoleServer, all_routes

PAGES = (
    "/",
    "/try",
    "/courier",
    "/decisions",
    "/review",
    "/drift",
    "/models",
    "/data",
    "/orders",
    "/resources",
    "/jobs",
)
FORMS = (*(f"/do/{verb}" for verb in ACTIONS), "/try", "/review/answer", "/links", "/sign-out")


@pytest.fixture(scope="module")
def server() -> Iterator[ConsoleServer]:
    """A console of an environment that does not exist: none of these requests may get as far as asking for it."""
    with serving(Console(no_environment, render, "nowhere")) as running:
        yield running


@pytest.fixture
def visitor(server: ConsoleServer) -> Visitor:
    """A signed-in visitor."""
    found = Visitor(server)
    assert found.sign_in().status == 303
    return found


def test_a_link_works_once(server: ConsoleServer) -> None:
    """A second browser that finds it in a history gets nothing."""
    url = server.url
    first, second = Visitor(server), Visitor(server)
    assert first.sign_in(url).status == 303
    reply = second.sign_in(url)
    assert reply.status == 403
    assert "set-cookie" not in reply.headers


def test_the_cookie_is_for_this_site_and_not_for_scripts(server: ConsoleServer) -> None:
    """Its name has the port, since browsers send a cookie to all ports of a host."""
    cookie = Visitor(server).sign_in().headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert cookie.startswith(f"scones-console-{server.port}=")


@pytest.mark.parametrize("path", [*PAGES, "/photo", "/jobs/x/events", "/report?key=data/x/report.html", "/static/../x"])
@pytest.mark.parametrize("cookie", [None, "scones-console=x", "scones-console-{port}=guess", "\x7f;;=", "a=b" * 2000])
def test_nothing_is_shown_without_a_session(server: ConsoleServer, path: str, cookie: str | None) -> None:
    """Guessed, damaged and foreign cookies count as none."""
    given = None if cookie is None else cookie.format(port=server.port)
    assert Visitor(server).get(path, Cookie=given).status in (401, 404)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:1",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "",
        "[::1]:{port}",
    ],
)
def test_another_host_name_is_refused(visitor: Visitor, host: str) -> None:
    """DNS rebinding: a page of evil.example, whose name leads here, would be of the same origin as the console."""
    assert visitor.get("/", Host=host.format(port=visitor.server.port)).status in (400, 421)


def test_two_host_headers_are_refused(visitor: Visitor) -> None:
    """One of them could be checked, and the other used."""
    connection = http.client.HTTPConnection("127.0.0.1", visitor.server.port, timeout=10)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{visitor.server.port}")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)
    connection.close()


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://localhost.evil:{port}",
        None,
    ],
)
def test_a_form_of_another_origin_is_refused(visitor: Visitor, path: str, origin: str | None) -> None:
    """Also one without an Origin, unless the browser says that it is of the same site."""
    given = None if origin is None else origin.format(port=visitor.server.port)
    assert visitor.post(path, Origin=given).status == 403


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", ["", "0" * 64, "é", None])
def test_a_form_without_this_sessions_token_is_refused(visitor: Visitor, path: str, token: str | None) -> None:
    """Every form, so a new route cannot be forgotten: routes that take POST are all listed here."""
    visitor.csrf = token or ""
    assert visitor.post(path).status == 403


def test_every_route_that_changes_something_is_attacked_here() -> None:
    """FORMS lists them all."""
    posts = {route.path for route in all_routes() if "POST" in (route.methods or ())}
    assert posts - {"/do/{verb}"} <= set(FORMS)


def test_the_token_of_another_session_is_refused(server: ConsoleServer) -> None:
    """Two visitors, each with a session."""
    one, other = Visitor(server), Visitor(server)
    one.sign_in()
    other.sign_in()
    one.csrf = other.csrf
    assert one.post("/sign-out").status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"])
def test_other_methods_change_nothing(visitor: Visitor, method: str) -> None:
    """Neither on pages nor on files."""
    for path in ("/", "/models", "/static/console.js"):
        assert visitor.send(method, path, b"", {"Origin": visitor.origin}).status in (403, 405)


def test_another_site_may_link_but_not_load(visitor: Visitor) -> None:
    """Images, scripts and frames of other sites learn nothing, not even by their size."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert visitor.send("GET", "/photo?execution=x", headers={**cross, "Sec-Fetch-Mode": "no-cors"}).status == 403
    assert visitor.send("GET", "/jobs", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status != 403


@pytest.mark.parametrize("path", [*PAGES, "/static/console.js", "/nowhere", "/sign-in?token=x"])
def test_every_answer_forbids_frames_inline_code_and_other_sources(visitor: Visitor, path: str) -> None:
    """Pages, files, refusals and errors."""
    headers = visitor.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == policy["connect-src"] == "'self'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"]


def test_pages_have_no_inline_code(visitor: Visitor) -> None:
    """The policy would block it, so a page that had some would not work."""
    for path in PAGES:
        text = visitor.get(path).text
        assert re.findall(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", text) == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../security.py",
        "/static/%2e%2e/security.py",
        "/static/..%2fsecurity.py",
        "/static//etc/passwd",
        "/static/security.py",
        "/static/console.css%00.js",
        "/report?key=../../etc/passwd",
        "/report?key=flow/lock.json",
        "/report?key=data/../flow/x.html",
        "/report?key=s3://other/data/x/report.html",
        "/staged?key=flow/lock.json",
        "/staged?key=../data/x",
        "/staged?key=s3://other/data/x",
    ],
)
def test_paths_lead_nowhere_else(visitor: Visitor, path: str) -> None:
    """Neither into this machine's files nor into other objects of the bucket."""
    reply = visitor.get(path)
    assert reply.status in (200, 404)
    assert "def " not in reply.text
    assert "root:" not in reply.text
    if reply.status == 200:  # the environment does not exist
        assert "Nothing to show yet" in reply.text


@pytest.mark.parametrize("length", [str(security.MAX_BODY_BYTES + 1), "999999999999999", "-1", "1e3", "x"])
def test_a_declared_body_that_is_too_large_is_refused_unread(visitor: Visitor, length: str) -> None:
    """Without waiting for it."""
    connection = http.client.HTTPConnection("127.0.0.1", visitor.server.port, timeout=10)
    connection.putrequest("POST", "/links")
    for name, value in (("Origin", visitor.origin), ("Cookie", visitor.cookie), ("Content-Length", length)):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status in (400, 413)
    connection.close()


def test_a_chunked_body_ends_at_the_limit(visitor: Visitor) -> None:
    """It does not say its length."""
    connection = http.client.HTTPConnection("127.0.0.1", visitor.server.port, timeout=10)
    headers = {"Origin": visitor.origin, "Cookie": visitor.cookie, "Content-Type": "application/x-www-form-urlencoded"}
    parts = iter([b"csrf=" + b"x" * 1000] + [b"y" * 8192] * 16)
    try:
        connection.request("POST", "/links", parts, headers, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        assert visitor.get("/jobs").status == 200
    connection.close()


def test_a_slow_body_is_given_up(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for the whole body, so that a byte now and then does not prolong it."""
    monkeypatch.setattr(security, "MAX_BODY_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", visitor.server.port), timeout=20) as connection:
        lines = [
            "POST /links HTTP/1.1",
            f"Host: 127.0.0.1:{visitor.server.port}",
            f"Origin: {visitor.origin}",
            f"Cookie: {visitor.cookie}",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 100",
        ]
        connection.sendall("\r\n".join([*lines, "", "csrf"]).encode())
        answer = connection.recv(200)
    assert b" 408 " in answer


def test_a_read_only_console_refuses_every_form() -> None:
    """With all that a signed-in visitor has."""
    with serving(Console(no_environment, render, "nowhere"), read_only=True) as server:
        visitor = Visitor(server)
        visitor.sign_in()
        visitor.csrf = server.console.sessions.csrf(visitor.cookie.partition("=")[2])
        assert {visitor.post(path).status for path in FORMS} == {403}
        assert visitor.get("/jobs").status == 200


def test_a_courier_sees_only_the_page_for_couriers(visitor: Visitor) -> None:
    """Their link is made in the console, works once, and opens nothing else."""
    reply = visitor.post("/links", {"role": "courier"})
    courier = Visitor(visitor.server)
    link = re.search(r'value="(http://[^"]+)"', reply.text)
    assert link
    assert courier.sign_in(link.group(1)).headers["location"] == "/courier"
    assert courier.get("/courier").status == 200
    assert {courier.get(path).status for path in PAGES if path not in ("/courier", "/", "/try")} == {403}
    assert {courier.post(path).status for path in FORMS if path != "/try"} == {403}


def test_signing_out_ends_the_session(visitor: Visitor) -> None:
    """The cookie is worth nothing afterwards."""
    assert visitor.post("/sign-out").status == 303
    assert visitor.get("/jobs").status == 401


def test_a_taken_port_is_said_and_without_one_another_is_found(server: ConsoleServer) -> None:
    """Two consoles run side by side."""
    console = Console(no_environment, render, "nowhere")
    with pytest.raises(security.ConsoleError, match=f"port {server.port}: .*--port"):
        ConsoleServer(console, port=server.port)
    with serving(console) as other:
        assert other.port != server.port
        visitor, second = Visitor(server), Visitor(other)
        visitor.sign_in()
        second.sign_in()
        both = {"Cookie": f"{visitor.cookie}; {second.cookie}"}
        assert (visitor.get("/jobs", **both).status, second.get("/jobs", **both).status) == (200, 200)


def test_a_session_ends_with_its_console(server: ConsoleServer) -> None:
    """Another console, or the same started again, knows neither its links nor its sessions."""
    visitor = Visitor(server)
    visitor.sign_in()
    with serving(Console(no_environment, render, "nowhere")) as other:
        stranger = Visitor(other, cookie=visitor.cookie.replace(str(server.port), str(other.port)))
        assert stranger.get("/jobs").status == 401


def test_a_link_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a day it opens nothing."""
    sessions = security.Sessions()
    token = sessions.new_link(security.Role.OPERATOR)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 24 * 3600 + 1)
    assert sessions.open(token) is None

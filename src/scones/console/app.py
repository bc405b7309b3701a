"""The console as an application: its routes, its templates, and what an error looks like."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import PackageLoader
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from scones.aws.client import AwsError, AwsUnreachable
from scones.config.settings import Settings
from scones.console.jobs import Job, Jobs
from scones.console.security import ConsoleError, Role, Sessions
from scones.domain import VERSION
from scones.domain.errors import MissingPrerequisite, SconesError
from scones.domain.text import name_env, printable
from scones.pipeline import Pipeline
from scones.reports.theme import environment

LOG = logging.getLogger("scones.console")
PAGES = (
    ("/", "Overview", "o"),
    ("/try", "Try", "t"),
    ("/decisions", "Decisions", "d"),
    ("/review", "Review", "r"),
    ("/drift", "Drift", "f"),
    ("/models", "Models", "m"),
    ("/data", "Data", "a"),
    ("/orders", "Orders", "b"),
    ("/resources", "Cost and resources", "c"),
)
"""Address, name, and the key that opens it after g."""
_STATIC = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Console:
    """What all requests share: the environment, the jobs, the sessions and the templates.

    *open_flow* connects to the environment. It is called again after the connection failed: a local cloud that was
    started again has another port and other keys, and expired credentials may have been renewed.
    """

    def __init__(self, open_flow: Callable[[], Pipeline], describe: Callable[[object], str], env: str) -> None:
        self._open_flow = open_flow
        self._flow: Pipeline | None = None
        self._lock = threading.Lock()
        self.classes: tuple[str, ...] = ()
        self.describe = describe
        self.env = env
        self.sessions = Sessions()
        self.jobs = Jobs(self.log_bug, env)
        self.cache: dict[str, Any] = {}
        """What does not change while the connection lasts."""
        self.templates = environment(PackageLoader("scones.console"))
        self.templates.filters.update(named=isolate, when=when, tone=self.tone, points=points)
        self.templates.globals.update(pages=PAGES, scones_version=VERSION, env=env)

    @property
    def flow(self) -> Pipeline:
        """The connected environment; raises what connecting raises."""
        with self._lock:
            if self._flow is None:
                self._flow = self._open_flow()
                self.cache.clear()
                self.classes = known_classes(self._flow)
            return self._flow

    @property
    def settings(self) -> Settings:
        """The settings of the environment."""
        return self.flow.settings

    def forget(self) -> None:
        """Connect again at the next request."""
        with self._lock:
            self._flow = None

    def flow_of(self, job: Job) -> Pipeline:
        """The environment, whose steps report to *job*."""
        return replace(self.flow, report=job)

    def tone(self, label: str) -> str:
        """The class of a label's color."""
        return f"class-{1 + self.classes.index(label) % 6}" if label in self.classes else "unsure"

    def log_bug(self, error: BaseException) -> str:
        """Log an error that is not on purpose, and say so in one sentence."""
        LOG.error("a defect of the console", exc_info=error)
        return f"this is a defect of Scones ({type(error).__name__}); the console's terminal shows where"

    def render(self, request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """Render a page, or only its content if a part of a page asks for it."""
        state = request.scope.get("state", {})
        part = request.headers.get("hx-request") == "true"
        flow = self._flow
        shared = {
            "layout": "part.html.j2" if part else "page.html.j2",
            "path": request.url.path,
            "csrf": state.get("csrf", ""),
            "read_only": state.get("read_only", True),
            "courier_session": state.get("role") is Role.COURIER,
            "account": ""
            if flow is None
            else flow.settings.endpoint_url or f"account {flow.aws.account}, {flow.aws.region}",
            "local": flow is not None and bool(flow.settings.endpoint_url),
            "running": [] if state.get("role") is Role.COURIER else self.jobs.running(),
        }
        page = self.templates.get_template(template).render(**shared, **values)
        return HTMLResponse(name_env(page, self.env), status)


def known_classes(flow: Pipeline) -> tuple[str, ...]:
    """The classes of the live model, else those of the settings."""
    from scones.environment import load_result
    from scones.steps.deploy import DeployResult

    try:
        return load_result(flow.aws, "deploy", DeployResult).classes
    except (SconesError, AwsUnreachable):
        return flow.settings.classes


def isolate(text: object) -> Markup:
    """A foreign name: escaped, and so that its direction does not change that of the words around it."""
    return Markup('<bdi translate="no">{}</bdi>').format(printable(str(text)))


def points(share: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * share:+.1f} points"


def when(text: str | datetime | float) -> Markup:
    """A time, in UTC until the page's script writes it in the user's zone."""
    try:
        moment = _moment(text)
    except ValueError:
        return isolate(text)
    return Markup('<time datetime="{}">{} UTC</time>').format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}")


def _moment(text: str | datetime | float) -> datetime:
    if isinstance(text, datetime):
        return text
    if isinstance(text, str):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.fromtimestamp(text, UTC)


def static(request: Request) -> Response:
    """A file of the console, or the style that it shares with the reports."""
    name = request.path_params["name"]
    kind = next((kind for ending, kind in _STATIC.items() if name.endswith(ending)), None)
    package = "scones.reports" if name == "style.css" else "scones.console"
    folder = files(package) / ("templates" if name == "style.css" else "static")
    known = {item.name for item in folder.iterdir()}
    if kind is None or name not in known:
        return Response("There is no such file.", 404, media_type="text/plain")
    headers = {"Cache-Control": "private, max-age=3600" if "v" in request.query_params else "no-cache"}
    return Response((folder / name).read_bytes(), media_type=kind, headers=headers)


def create_app(console: Console, routes: Sequence[BaseRoute]) -> Starlette:
    """Make the application of these pages and actions; security.Guard must stand before it."""

    def show_error(request: Request, error: Exception) -> Response:
        return error_page(console, request, error)

    handlers: Mapping[Any, Any] = {SconesError: show_error, 404: not_found, Exception: show_error}
    app = Starlette(routes=[Route("/static/{name:path}", static), *routes], exception_handlers=handlers)
    app.state.console = console
    return app


def not_found(request: Request, _error: Exception) -> Response:
    """The page for an address that leads nowhere."""
    return of(request).render(request, "error.html.j2", 404, title="There is no such page", message="", hint="")


def error_page(console: Console, request: Request, error: Exception) -> Response:
    """Show an error as a page, or as the part of a page that failed: what happened, and what to do."""
    title, message, status = "This did not work", printable(str(error)), 409
    if isinstance(error, ConsoleError):
        status = error.status
    elif isinstance(error, MissingPrerequisite):
        title, status = "Nothing to show yet", 200
    elif isinstance(error, AwsUnreachable):
        console.forget()
        title, status = "The environment does not answer", 503
    elif isinstance(error, AwsError):
        status = 502
        if error.not_found:
            title, status = "This is gone", 404
        elif "AccessDenied" in error.code:
            title, status = "A permission is missing", 403
            message = (
                f"Your credentials may not call {error.service}:{error.operation.title().replace('_', '')}. {message}"
            )
    elif not isinstance(error, SconesError):
        message, status = console.log_bug(error), 500
    return console.render(request, "error.html.j2", status, title=title, message=message, hint="")


def of(request: Request) -> Console:
    """The console that a request is for."""
    found: Console = request.app.state.console
    return found

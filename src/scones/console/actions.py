"""The actions: each form calls one step of the pipeline, the same that a command calls."""

import functools
import math
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from scones.console.app import Console, of
from scones.console.decision_pages import share, workflow
from scones.console.jobs import Job
from scones.console.security import CSRF_FIELD, CSRF_HEADER, MAX_PHOTO_BYTES, ConsoleError, Role, check_csrf
from scones.deployment.pricing import price_of
from scones.domain.decision import MAX_NAME_CHARACTERS, MAX_ORDERS
from scones.domain.text import plural
from scones.environment import load_result
from scones.steps.classify import ClassifiedPhoto, classify_one
from scones.steps.show import simulate_value

Form = Mapping[str, str]
Handler = Callable[[Request, FormData], Awaitable[Response]]
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Action:
    """One button: what it is called, what it does, and what the page says that asks first."""

    title: str
    work: Callable[["Console", Job, Form], object]
    question: Callable[["Console", Form], str]
    numbered: str = ""
    """What it is called where it is about one number."""
    danger: bool = False
    typed: bool = False
    """Whether the environment's name must be typed to confirm."""

    def called(self, form: Form) -> str:
        """What it is called for this form."""
        number = form.get("number", "")
        return self.numbered.format(number=number) if self.numbered and number.isdecimal() else self.title


def confirmed(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Check the token of a form before anything else is done with it."""

    @functools.wraps(handler)
    async def checked(request: Request) -> Response:
        """Read the form, and handle it."""
        async with request.form(max_files=1, max_fields=20, max_part_size=MAX_PHOTO_BYTES) as form:
            check_csrf(request.scope["state"], form.get(CSRF_FIELD) or request.headers.get(CSRF_HEADER))
            return await handler(request, form)

    return checked


def _texts(form: FormData) -> Form:
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _number(form: Form, name: str = "number") -> int:
    text = form.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConsoleError(f"{name} is not a number")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _price(console: Console, verb: str) -> str:
    if console.settings.endpoint_url:
        return "On the local cloud this costs nothing."
    return f"This costs money on AWS: {price_of(verb, console.settings)}"


def _deploy(console: Console, job: Job, form: Form) -> object:
    flow = console.flow_of(job)
    return flow.deploy(_number(form)), flow.smoke()


def _rollback(console: Console, job: Job, form: Form) -> object:
    flow = console.flow_of(job)
    to = _number(form) if form.get("number") else None
    return flow.rollback(to, now=bool(form.get("now"))), flow.smoke()


def _wanted(form: Form) -> str:
    return f"release {_number(form)}" if form.get("number") else "the newest earlier release whose model is approved"


def _approve(console: Console, job: Job, form: Form) -> object:
    reason = form.get("reason", "").strip() or "in the console"
    return console.flow_of(job).approve(_number(form), reason, reject=form.get("verdict") == "reject")


def _monitor(console: Console, job: Job, form: Form) -> object:
    return console.flow_of(job).monitor(acknowledge=bool(form.get("acknowledge")))


def _rejudge(console: Console, job: Job, form: Form) -> object:
    flow = console.flow_of(job)
    threshold = share(form["threshold"], "the threshold") if form.get("threshold") else None
    if not form.get("number"):
        return flow.rejudge(None, threshold)
    package = flow.aws.registry.get(_number(form))
    with tempfile.TemporaryDirectory() as folder:
        path = flow.aws.bucket.download(flow.aws.bucket.key(package.model_uri), Path(folder) / "model.tar.gz")
        return flow.rejudge(path, threshold)


def _value(console: Console, job: Job, _form: Form) -> object:
    flow = console.flow_of(job)
    from scones.evaluation.evaluation import Evaluation

    evaluation = load_result(flow.aws, "evaluate", Evaluation)
    job.tell("playing the days without a classifier, with this model, and with perfect knowledge")
    found = simulate_value(evaluation, flow.settings)
    console.cache["value"] = found
    return {
        f"{line.name}, orders on time": f"{line.on_time.mean:.1%}"
        for line in (found.blind, *found.measured, found.perfect)
    }


def _down(console: Console, job: Job, form: Form) -> object:
    if form.get("name") != console.env:
        raise ConsoleError(f"Nothing was deleted: {form.get('name', '')[:40]!r} is not the environment's name.")
    found = console.flow_of(job).down(keep_data=bool(form.get("keep")))
    console.forget()
    return found


ACTIONS: Mapping[str, Action] = {
    "deploy": Action(
        "Deploy a model",
        _deploy,
        lambda console, form: (
            f"The endpoint moves to model {_number(form)}, step by step; an alarm moves it back. "
            + _price(console, "deploy")
        ),
        "Deploy model {number}",
    ),
    "rollback": Action(
        "Return to the previous release",
        _rollback,
        lambda console, form: (
            f"The endpoint returns to {_wanted(form)}, "
            + ("at once: no alarm ends the update. " if form.get("now") else "step by step; an alarm ends the update. ")
            + "The records of newer releases are deleted. "
            + _price(console, "deploy")
        ),
        "Return to release {number}",
        danger=True,
    ),
    "approve": Action(
        "Decide about a model",
        _approve,
        lambda _console, _form: "This replaces the earlier decision about the model.",
        "Decide about model {number}",
    ),
    "monitor": Action(
        "Check the traffic",
        _monitor,
        lambda console, _form: f"Active alarms are acknowledged if you chose so. {_price(console, 'monitor')}",
    ),
    "replay": Action(
        "Reproduce a decision",
        lambda console, job, form: console.flow_of(job).replay(form.get("execution", "")),
        lambda _console, _form: "The photo is classified again by the model that decided then.",
    ),
    "rejudge": Action(
        "Decide every recorded photo again",
        _rejudge,
        lambda console, _form: f"Every recorded decision is read, and made again. {_price(console, 'replay')}",
    ),
    "value": Action(
        "Simulate days with this model",
        _value,
        lambda _console, _form: "Three days in a city are simulated on this machine, which takes some seconds.",
    ),
    "dispatch": Action(
        "Assign the open orders",
        lambda console, job, _form: console.flow_of(job).dispatch(),
        lambda console, _form: f"Each open order goes to at most one courier. {_price(console, 'dispatch')}",
    ),
    "down": Action(
        "Delete the environment",
        _down,
        lambda console, form: _losses(console, keep=bool(form.get("keep"))),
        danger=True,
        typed=True,
    ),
}


def _losses(console: Console, *, keep: bool) -> str:
    found = console.flow.status()
    hourly = "" if found.hourly_dollars is None else f" This stops ${found.hourly_dollars:.4f} an hour at AWS's prices."
    kept = (
        "all but the bucket with photos, models and records"
        if keep
        else "everything, also photos, models and decisions"
    )
    resources = plural(len(found.resources), "resource")
    return f"This deletes {resources} of environment {console.env} for good: {kept}.{hourly}"


def routes() -> list[Route]:
    """The actions."""
    return [
        Route("/confirm/{verb}", ask),
        Route("/do/{verb}", act, methods=["POST"]),
        Route("/try", send_photo, methods=["POST"]),
        Route("/links", make_link, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]


def _action(request: Request) -> tuple[str, Action]:
    verb = request.path_params["verb"]
    if verb not in ACTIONS:
        raise ConsoleError("There is no such action.", 404)
    return verb, ACTIONS[verb]


def ask(request: Request) -> Response:
    """Say what an action does and costs, before it is done."""
    console = of(request)
    verb, action = _action(request)
    form = {name: value[:200] for name, value in request.query_params.items()}
    return console.render(
        request,
        "confirm.html.j2",
        verb=verb,
        action=action,
        title=action.called(form),
        question=action.question(console, form),
        form=form,
    )


@confirmed
async def act(request: Request, form: FormData) -> Response:
    """Start an action, and go to its page."""
    console = of(request)
    verb, action = _action(request)
    given = _texts(form)
    if action.typed and given.get("name") != console.env:
        raise ConsoleError(
            f"Nothing was done: {given.get('name', '')[:40]!r} is not the environment's name, {console.env!r}."
        )
    job = console.jobs.start(verb, action.called(given), functools.partial(_run, console, action, given))
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _run(console: Console, action: Action, form: Form, job: Job) -> object:
    return action.work(console, job, form)


@confirmed
async def send_photo(request: Request, form: FormData) -> Response:
    """Classify one photo through the workflow, and go to the page that shows it."""
    console = of(request)
    photo = form.get("photo")
    if not isinstance(photo, UploadFile) or not photo.size:
        raise ConsoleError("Choose a photo first: a PNG, JPEG or WebP file.")
    body = await photo.read()
    name = photo.filename or "photo"
    courier = _courier(_texts(form))
    work = functools.partial(_classify, console, name, body, courier)
    job = await run_in_threadpool(console.jobs.start, "try", "Classify a photo", work, alone=False)
    small = "?small=1" if request.scope["state"]["role"] is Role.OPERATOR and form.get("small") else ""
    return RedirectResponse(f"/try/{job.id}{small}", 303)


def _courier(form: Form) -> dict[str, Any] | None:
    """The courier of the photo, in the form of the workflow's event; None if there is none."""
    name = form.get("courier", "").strip()
    if not name:
        return None
    if len(name) > MAX_NAME_CHARACTERS:
        raise ConsoleError(f"A courier's id has at most {MAX_NAME_CHARACTERS} characters.")
    try:
        east, north = (_finite(form.get(axis) or "0") for axis in ("x_km", "y_km"))
        capacity = int(form.get("capacity") or 2)
    except ValueError as error:
        raise ConsoleError("Write the position in kilometres, and the number of orders as a whole number.") from error
    if not 0 <= capacity <= MAX_ORDERS:
        raise ConsoleError(f"A courier takes from 0 to {MAX_ORDERS} orders.")
    return {"id": name, "x_km": east, "y_km": north, "capacity": capacity}


def _classify(console: Console, name: str, body: bytes, courier: dict[str, Any] | None, job: Job) -> ClassifiedPhoto:
    """Run the workflow on a photo; meanwhile the job shows its states."""
    from threading import Thread

    flow = console.flow
    arn, _ = workflow(console)
    sample = flow.upload(name, body)
    execution = uuid.uuid4().hex

    def watch() -> None:
        while not job.ended.wait(_POLL_SECONDS):
            job.show(flow.aws.workflow.states(arn, execution) or job.states)

    Thread(target=watch, name="console watch", daemon=True).start()
    return classify_one(flow.aws, arn, sample, execution, courier)


@confirmed
async def make_link(request: Request, form: FormData) -> Response:
    """Make a link that opens the console once more, or only its page for couriers."""
    console = of(request)
    role = Role.COURIER if form.get("role") == Role.COURIER else Role.OPERATOR
    url = request.url.replace(path="/sign-in", query=f"token={console.sessions.new_link(role)}")
    return console.render(request, "link.html.j2", url=str(url), role=role)


@confirmed
async def sign_out(request: Request, _form: FormData) -> Response:
    """End this session."""
    of(request).sessions.close(request.scope["state"]["session"])
    return RedirectResponse("/", 303)

"""A session: an environment opened from Python, as in the README, and progress without a terminal."""

import inspect
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import scones as package
from scones.aws.client import AwsUnreachable
from scones.aws.registry import NoSuchModel
from scones.cli.group import scones
from scones.cli.session import NotConfirmed, Scones, Terminal
from scones.domain.errors import SettingsError
from scones.retraining import PythonPipeline
from scones_local.cloud import Cloud, exports
from tiny_model import plain_photo

README = Path(__file__).parents[2] / "README.md"


def test_the_example_for_python_runs_as_it_is_written(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder with photos where it says, and an environment of its own."""
    for label, first in (("bicycle", 20), ("motorcycle", 200)):
        folder = tmp_path / "path" / "to" / "photos" / label
        folder.mkdir(parents=True)
        for level in range(first, first + 12):
            (folder / f"{level}.png").write_bytes(plain_photo(level))
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert example in (README.parent / "docs" / "python_api.py").read_text("utf-8")
    exec(example.replace('"dev"', '"notebook"'))  # noqa: S102 - it is our own
    out = capsys.readouterr().out
    assert re.search(r"\d+ photos to learn from, version [0-9a-f]+", out)
    assert "bucket scones-notebook" in out


def test_from_python_what_costs_money_is_refused_until_it_is_agreed_to(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no endpoint is named it would go to AWS, and a notebook has no terminal to ask at."""
    found = exports(cloud)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for service in ("STS", "S3", "CLOUDFORMATION", "DYNAMODB", "SAGEMAKER"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", found["AWS_ENDPOINT_URL"])
    for label, first in (("bicycle", 20), ("motorcycle", 200)):
        (tmp_path / label).mkdir()
        for level in range(first, first + 12):
            (tmp_path / label / f"{level}.png").write_bytes(plain_photo(level))
    with Scones(env="unagreed", data=tmp_path, state=tmp_path / "state") as pipeline:
        pipeline.stage()
        with pytest.raises(NotConfirmed, match=r"train costs money on AWS: a training job .*agreed=True"):
            pipeline.train()


def test_a_notebook_completes_the_names_and_a_pipeline_that_is_not_open_says_how_to_open_it(tmp_path: Path) -> None:
    """`import scones` loads nothing, and yet its names are there to complete."""
    assert {"Scones", "predict", "Prediction", "SconesError"} <= set(dir(package))
    with pytest.raises(AttributeError, match=r"'status'; .*: with Scones\(\.\.\.\) as pipeline"):
        Scones(state=tmp_path).status()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"treshold": 0.5}, "did you mean threshold"),
        ({"threshold": 3}, "threshold = 3"),
        ({"env": "A B"}, "env"),
        ({"agreed": "no"}, "agreed must be True or False"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_opened(settings: dict[str, object], words: str) -> None:
    """With the name that was meant, or the values that are allowed."""
    with pytest.raises(SettingsError, match=words):
        Scones(**settings)  # type: ignore[arg-type]


def test_a_session_may_be_opened_and_closed_again(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cells of a notebook are run again, in any order."""
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name, value)
    session = Scones(env="again", state=tmp_path)
    session.close()
    first, second = session.open(), session.open()
    assert first.aws.name == second.aws.name == "scones-again"
    session.close()
    session.close()
    with session as third:
        assert third.models().models == ()


def test_an_environment_that_does_not_open_names_itself_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pipeline is open then whose methods could."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AwsUnreachable, match=r"no AWS credentials found; .*: scones local up --env nowhere"):
        Scones("nowhere", state=tmp_path, region="eu-west-3").open()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_countdown_is_drawn_on_a_terminal_and_nowhere_else(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere the line that begins each step is enough, however long the step takes."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Terminal(line_seconds=0) as shown:
        for left in (20, 7.4, 0, 0):
            shown.countdown(left, 20, "step 1 of 2")
            if left == 7.4:
                shown._bars.refresh()
    out, err = capsys.readouterr()
    assert out == ""
    assert ("step 1 of 2" in err and "7 s left" in err) is terminal
    if not terminal:
        assert err == ""


@pytest.mark.parametrize("variable", ["", "FORCE_COLOR", "TTY_COMPATIBLE", "JPY_PARENT_PID"])
def test_without_a_terminal_long_work_still_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A log or a notebook shows no bars: a line now and then, one at the end, and nothing on stdout."""
    if variable:
        monkeypatch.setenv(variable, "1")
    with Terminal(line_seconds=0) as patient, Terminal() as quick:
        for done in (1, 2):
            patient.progress(done, 2, "photos classified", "a.png")
            quick.progress(done, 2, "events ended")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  photos classified: 1 of 2, a.png",
        "  photos classified: 2",
        "  events ended: 2",
    ]


def test_every_command_on_an_environment_is_a_method_with_its_name() -> None:
    """`review` and `labels` are groups, whose commands are methods; the others need no environment or are no step."""
    methods = {name for name, _ in inspect.getmembers(PythonPipeline, inspect.isfunction)}
    without = {"predict", "console", "demo", "local", "review", "labels"}
    assert [name for name in scones.commands if name not in methods | without] == []


def test_cost_has_the_parameters_of_its_command() -> None:
    """And prices the same, from Python as from the command line."""
    options = {param.opts[0].removeprefix("--") for param in scones.commands["cost"].params}
    assert options - {"json"} == {*inspect.signature(PythonPipeline.cost).parameters} - {"self"}


def test_from_python_an_error_names_its_own_environment(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when another one was opened later, and in a thread: the command in it would act on the wrong one."""
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name, value)
    with Scones(env="one", state=tmp_path) as one, Scones(env="two", state=tmp_path) as two:
        for pipeline, env in ((one, "one"), (two, "two"), (one, "one")):
            with pytest.raises(NoSuchModel, match=f"run: scones train --env {env}$"):
                pipeline.compare(1, 2)
        with ThreadPoolExecutor() as threads, pytest.raises(NoSuchModel, match=r"run: scones train --env one$"):
            threads.submit(one.compare, 1, 2).result()
    assert inspect.signature(one.compare) == inspect.signature(PythonPipeline.compare.__get__(one))

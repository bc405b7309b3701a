"""The command line as a user meets it: exit codes, one-line errors, JSON on stdout and nothing else there."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import scones.cli
from cli.test_render import unclear
from faulty import Fault, before
from scones import steps
from scones.cli import main
from scones.cli.group import Number
from scones.cli.group import scones as group
from scones.domain.errors import require_writable
from scones.pipeline import Pipeline
from scones.steps import STEPS
from scones_local.cloud import Cloud, exports
from tiny_model import plain_photo, write_tiny_model_file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own to work in: no settings file, no state, no cloud."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return tmp_path


@pytest.fixture
def pointed(home: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, pointed at the local cloud as `scones local env` prints it, and at an environment of its own."""
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SCONES_ENV", f"cli{uuid.uuid4().hex[:8]}")
    return home


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process; give its exit code, stdout and stderr."""
    capture = CliRunner()
    with capture.isolation() as (out, err, _):
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, out.getvalue().decode(), err.getvalue().decode()


def photos(folder: Path, label: str, count: int) -> None:
    """Write plain photos of one class, each different from all others."""
    (folder / label).mkdir(parents=True)
    first = {"bicycle": 20, "motorcycle": 200}[label]
    for level in range(first, first + count):
        (folder / label / f"{level}.png").write_bytes(plain_photo(level))


def test_sigterm_ends_a_background_job_of_a_script() -> None:
    """A shell without a terminal has its background jobs ignore SIGINT."""
    program = (
        "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); from scones import cli; "
        "signal.signal(signal.SIGTERM, cli._as_interrupt); os.kill(os.getpid(), signal.SIGTERM); time.sleep(50)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=40, check=False)
    assert "KeyboardInterrupt" in ended.stderr


def test_help_lists_every_step_in_order() -> None:
    """`scones --help` lists the commands in the order in which they are used, with whole sentences."""
    out = run("--help")[1]
    places = [out.index(f"  {step} ") for step in STEPS]
    assert places == sorted(places)
    assert "..." not in out.partition("Commands:")[2]  # no sentence is cut off


# SciPy loads its parts when they are used; the package alone is small.
HEAVY = ("sklearn", "onnx", "onnxruntime", "matplotlib", "scipy.special", "scipy.ndimage")


def loaded(*programs: str) -> set[str]:
    """Run Python programs in one new interpreter; return the heavy packages that it has loaded then, and botocore's."""
    names = (*HEAVY, "numpy", "boto3", "botocore.loaders")
    report = f"import sys; print('LOADED', *[name for name in {names!r} if name in sys.modules])"
    command = [sys.executable, "-c", "; ".join((*programs, report))]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(out.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments", [("--help",), ("train", "--help"), ("local", "status"), ("cost",), ("classify", "--plan", "1000")]
)
@pytest.mark.usefixtures("home")
def test_a_command_that_calls_no_service_loads_no_client(arguments: tuple[str, ...]) -> None:
    """Neither boto3, nor what computes or draws."""
    assert loaded("from scones.cli import _exit_code", f"assert _exit_code({arguments!r}) == 0") <= {"numpy"}


@pytest.mark.usefixtures("pointed")
def test_status_loads_the_clients_and_no_more() -> None:
    """It describes resources and the accuracy that labels measured; it needs neither charts nor models."""
    assert loaded("from scones.cli import _exit_code", "assert _exit_code(['status']) == 0") == {
        "boto3",
        "botocore.loaders",
        "numpy",
    }


@pytest.mark.parametrize("step", sorted(path.stem for path in Path(steps.__file__).parent.glob("[a-z]*.py")))
def test_a_step_is_imported_without_what_only_draws_or_trains(step: str) -> None:
    """Charts, models and boto3 are loaded when a step uses them, not by its import."""
    assert loaded(f"import scones.steps.{step}").isdisjoint({"sklearn", "onnx", "matplotlib", "boto3"})


@pytest.mark.parametrize("step", ["train", "deploy", "classify", "evaluate", "monitor", "dispatch", "simulate"])
@pytest.mark.usefixtures("pointed")
def test_a_step_without_the_ones_before_it_says_which_to_run(step: str) -> None:
    """One line on stderr that names what is missing; stdout stays empty, the exit code is 1."""
    code, out, err = run(step, "--json")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("scones: environment ")
    assert "run: scones " in err


VERBS = [
    *("train", "approve", "approve 3", "approve --reject no", "deploy", "deploy 3", "rollback"),
    *("classify", "classify a.png", "classify a.png a.png", "classify photos", "classify s3://x/asked/"),
    *("replay abc", "replay --threshold 0.01", "replay --threshold 0.5", "replay --model model"),
    *("evaluate", "evaluate --gate", "evaluate --load", "evaluate --robustness", "evaluate --unfamiliar photos"),
    *("monitor", "monitor --acknowledge", "monitor --learn 5", "monitor --learn 0", "monitor --labels labels.csv"),
    *("monitor --to-label x.csv", "dispatch", "dispatch --example-orders 3"),
    *("review", "review --limit 3", "review count", "review answer x bicycle", "review withdraw x", "review skip x"),
    *("review export p.csv", "review import labels.csv --by ann", "labels export l.csv", "compare 3 4"),
    *("approve s3://scones-none/model.tar.gz", "deploy model", "predict 3 a.png", "evaluate --model 3"),
    *("simulate", "simulate --shifted 1", "simulate --duplicates 1 --rate 0"),
]


@pytest.fixture
def inputs(pointed: Path) -> Path:
    """Files for the commands."""
    (pointed / "a.png").write_bytes(plain_photo(200))
    (pointed / "labels.csv").write_text("event,label\nx,bicycle\n")
    write_tiny_model_file(pointed / "model")
    for label in ("bicycle", "motorcycle"):
        photos(pointed / "photos", label, 12)
    return pointed


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_before_up_is_one_line_with_the_next_command(verb: str) -> None:
    """Nothing was ever made in this environment; no error of a service is shown."""
    code, out, err = run(*verb.split(), "--json")
    assert (code, out) == (1, "")
    assert re.search(
        r"^scones: (environment|there is no model 3).*run: scones (stage|train|up|deploy)", err.splitlines()[-1]
    )
    assert "failed:" not in err


@pytest.mark.usefixtures("inputs")
def test_every_verb_between_stage_and_up_is_one_line_with_the_next_command() -> None:
    """The bucket is there, but neither functions nor tables."""
    assert run("stage", "photos")[0] == 0
    for verb in (verb for verb in VERBS if verb != "train"):
        code, out, err = run(*verb.split(), "--json")
        assert (code, out) == (1, ""), verb
        assert re.search(r"^scones: .*run: scones (train|up|deploy)", err.splitlines()[-1]), (verb, err)
        assert "failed:" not in err


def test_a_verb_after_a_teardown_that_kept_the_data_says_what_to_run(
    own_flow: Pipeline, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results of `up` and `deploy` are still in the bucket, but nothing that they name."""
    monkeypatch.setenv("SCONES_ENV", own_flow.settings.env)
    own_flow.down(keep_data=True)
    for verb in ("classify a.png", "classify photos", "replay --threshold 0.5", "evaluate", "dispatch", "order"):
        command = verb.split() if verb != "order" else ["dispatch", "--example-orders", "3"]
        code, out, err = run(*command, "--json")
        assert (code, out) == (1, ""), verb
        assert re.search(r"^scones: .*run: scones (stage|up|deploy)", err.splitlines()[-1]), (verb, err)
    assert inputs.exists()


def test_no_command_says_a_line_twice_or_shows_a_value_as_python_writes_it(
    own_flow: Pipeline, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither tuples and mappings nor None, True and False; shares are percentages; one photo is no photos."""
    monkeypatch.setenv("SCONES_ENV", own_flow.settings.env)
    monkeypatch.setenv("SCONES_BAKE_SECONDS", "0")
    assert inputs.exists()
    commands = ("stage photos", "models", "releases", "approve 1", "up", "deploy 1 --now", "classify a.png", "monitor")
    more = (
        "review",
        "dispatch --example-orders 1",
        "simulate --events 1",
        "replay --threshold 0.9",
        "classify --plan 1",
    )
    last = ("status", "local status", "cost --photos 1", "image", "open", "down --yes")
    for command in (*commands, "review count", *more, "cost", *last):
        code, out, err = run(*command.split())
        assert code == 0, (command, err)
        assert out, command
        assert unclear(out.splitlines()) == unclear(err.splitlines()) == [], command


def test_a_teardown_without_a_terminal_is_refused_in_one_line(inputs: Path) -> None:
    """Before anything is deleted; --yes answers, and where there is nothing there is no question."""
    assert run("down")[0] == 0
    assert run("stage", "photos")[0] == 0
    before = json.loads(run("status", "--json")[1])["resources"]
    for arguments in (("down",), ("down", "--json"), ("down", "--keep-data")):
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert re.fullmatch(
            r"scones: `scones down --env \S+` must be confirmed.* scones down --env \S+ --yes", err.splitlines()[-1]
        )
    assert "24 staged photos" in err or "not the bucket" in err
    assert json.loads(run("status", "--json")[1])["resources"] == before
    assert json.loads(run("down", "--yes", "--json")[1])["remaining"] == []
    assert inputs.exists()


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [("{env}", 0, "nothing is left"), ("dev", 1, "cancelled; nothing was deleted"), ("", 1, "cancelled")],
)
def test_a_teardown_asks_for_the_environments_name(inputs: Path, answer: str, code: int, last: str) -> None:
    """At a terminal it says what will be deleted, and goes on only with the right name."""
    assert run("stage", "photos")[0] == 0
    env = json.loads(run("status", "--json")[1])["env"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from scones.cli import main; main(['down'])"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.write(ours, f"{answer.format(env=env)}\n".encode())
        shown = process.communicate(timeout=120)[0]
    for descriptor in (ours, theirs):
        os.close(descriptor)
    assert process.returncode == code, shown
    assert f"this deletes environment '{env}'" in shown
    assert "staged photos and lists" in shown
    assert last in shown.splitlines()[-1]
    assert bool(json.loads(run("status", "--json")[1])["resources"]) == bool(code)
    assert inputs.exists()


def test_one_bad_file_among_several_is_listed_and_the_others_are_classified(
    flow: Pipeline, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has one line, with the reason; the exit status is 1."""
    monkeypatch.setenv("SCONES_ENV", flow.settings.env)
    (inputs / "broken.jpg").write_bytes(b"no photo")
    code, out, err = run("classify", "a.png", "broken.jpg", "photos", "s3://x/y.png")
    assert code == 1
    assert err.splitlines()[-1] == "scones: 3 of 4 files could not be read; the reasons are listed above"
    assert "classified: motorcycle" in out
    assert "broken.jpg: unreadable: is not a PNG" in out
    assert "photos: unreadable: is a folder" in out
    assert "y.png: unreadable: is in S3" in out


def test_a_stream_of_more_troubles_than_events_is_refused_in_one_line() -> None:
    """Before anything is asked of AWS."""
    code, out, err = run("simulate", "--duplicates", "0.9", "--corrupt", "0.9")
    assert (code, out) == (1, "")
    assert "together they are 1 at most" in err


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({}, "folder"),
        ({"bicycle": 12}, "has no folder 'motorcycle'"),
        ({"bicycle": 12, "motorcycle": 3}, "class 'motorcycle' has 3 usable photos"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_in_one_line(pointed: Path, layout: dict[str, int], words: str) -> None:
    """Empty, one class only, too few of a class: what, which, what to do; nothing is made in the cloud."""
    folder = pointed / "my photos"
    folder.mkdir()
    for label, count in layout.items():
        photos(folder, label, count)
    code, out, err = run("stage", str(folder), "--json")
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert json.loads(run("status", "--json")[1])["resources"] == []


@pytest.mark.usefixtures("pointed")
def test_no_such_folder_is_said_by_name() -> None:
    """The message names the path."""
    code, _, err = run("stage", "nowhere/photos")
    assert code == 1
    assert "nowhere/photos" in err.splitlines()[-1]


def test_what_is_left_out_of_a_folder_is_listed_with_its_reason(pointed: Path) -> None:
    """A corrupt photo and a text file: named, never silently passed over; staging again uploads nothing."""
    folder = pointed / "vélos et motos"
    photos(folder, "bicycle", 12)
    photos(folder, "motorcycle", 12)
    (folder / "bicycle" / "brisé.png").write_bytes(plain_photo(50)[:60])
    (folder / "bicycle" / "notes.txt").write_text("not a photo")
    code, out, err = run("stage", str(folder), "--json")
    assert code == 0, err
    staged = json.loads(out)
    assert staged["train"] + staged["test"] == 24
    left_out = {Path(item["name"]).name: item["reason"] for item in staged["left_out"]}
    assert left_out.keys() == {"brisé.png", "notes.txt"}
    assert all(left_out.values())
    assert staged["uploaded"] == 24
    page = pointed / "reports" / "data.html"
    assert "brisé.png" in page.read_text("utf-8")
    assert json.loads(page.with_suffix(".json").read_bytes())["version"] == staged["version"]
    assert json.loads(run("stage", str(folder), "--json")[1])["uploaded"] == 0
    assert json.loads(run("down", "--json", "--yes")[1])["remaining"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.onnx",), "'nothing.onnx' is not a file; name an ONNX file"),
        (("broken.jpg", "--preprocess", "grey"), "preprocessing 'grey' is not known"),
        (("a.png",), "has no staged dataset; run: scones stage"),
    ],
)
def test_a_model_that_cannot_be_registered_is_one_line(pointed: Path, arguments: tuple[str, ...], words: str) -> None:
    """Before any photo is staged, where that can be told."""
    (pointed / "a.png").write_bytes(plain_photo(50))
    (pointed / "broken.jpg").write_bytes(b"no model")
    code, out, err = run("register", *arguments)
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--endpoint", "net"), "go together"),
        (("--capture", "s3://b/c"), "go together"),
        (("--first", "50"), "go together"),
        (("--classes", "a,b"), "go together"),
        (("--endpoint", "net", "--capture", "s3://b/c", "--learn", "5"), "--learn is for the environment's own"),
        (("--endpoint", "net", "--capture", "s3://b/c", "--first", "5"), "5 is not in the range"),
        (("--endpoint", "net", "--capture", "s3://b/c"), "no captured requests lie below s3://b/c"),
        ((), "run: scones deploy"),
    ],
)
@pytest.mark.usefixtures("pointed")
def test_options_of_other_endpoints_that_do_not_fit_are_refused(arguments: tuple[str, ...], words: str) -> None:
    """What goes together, and what does not."""
    code, out, err = run("monitor", *arguments)
    assert (code != 0, out) == (True, "")
    assert words in err.splitlines()[-1]


def test_a_model_file_is_evaluated_without_any_cloud(home: Path) -> None:
    """No AWS, no endpoint: JSON on stdout, a page beside it; a missed floor is exit 1 with what was measured."""
    write_tiny_model_file(home / "model")
    for label in ("bicycle", "motorcycle"):
        photos(home / "photos", label, 30)
    command = ("evaluate", "--model", "model", "--data", "photos", "--json", "--gate")
    (home / "scones.toml").write_text("gate_accuracy = 0.3\ngate_accuracy_covered = 0.3\ngate_coverage = 0.3\n")
    code, out, err = run(*command)
    assert code == 0, err
    assert json.loads(out)["metrics"]["accuracy"] == 1
    assert (home / "reports" / "evaluation.html").exists()
    (home / "scones.toml").write_text("gate_accuracy = 0.999\n")
    code, out, err = run(*command)
    assert code == 1
    assert json.loads(out)["gate"][0]["passed"] is False
    assert run("evaluate", "--artefact", "model", "--data", "photos")[2].startswith(
        "warning: --artefact is now called --model\n"
    )
    assert "gate_accuracy: the lower end of the 95% interval of accuracy, " in err.splitlines()[-1]


@pytest.mark.usefixtures("home")
def test_photos_for_an_endpoint_cannot_be_named() -> None:
    """It is asked about the staged ones; a folder named beside it would be ignored."""
    code, _, err = run("evaluate", "--data", "sample")
    assert code == 2
    assert "--data needs --model" in err


def test_a_photo_that_is_none_is_refused_before_it_is_sent(pointed: Path) -> None:
    """`scones classify letter.txt` names the file and the reason."""
    (pointed / "letter.txt").write_text("dear courier")
    code, _, err = run("classify", "letter.txt")
    assert code == 1
    assert "letter.txt" in err.splitlines()[-1]


def test_a_taken_port_is_said_by_number(home: Path) -> None:
    """Nothing is left of the attempt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = run("local", "up", "--port", port)
    assert code == 1
    assert port in err.splitlines()[-1]
    assert not list(home.glob("xdg_state_home/scones/*"))


def test_a_local_cloud_is_started_found_and_stopped(home: Path) -> None:
    """up, up again, status, env, a verb that finds it by itself, down, down again."""
    up = json.loads(run("local", "up", "--json")[1])
    assert json.loads(run("local", "up", "--json")[1]) == up
    assert json.loads(run("local", "status", "--json")[1])["running"]
    assert f"export AWS_ENDPOINT_URL={up['endpoint_url']}" in run("local", "env")[1]
    assert json.loads(run("status", "--json")[1])["resources"] == []
    assert json.loads(run("local", "down", "--json")[1]) == {"stopped": True}
    assert json.loads(run("local", "down", "--json")[1]) == {"stopped": False}
    code, _, err = run("local", "env")
    assert code == 1
    assert "run: scones local up" in err
    assert home.exists()


def test_what_a_durable_cloud_keeps_is_not_deleted_without_a_question(home: Path) -> None:
    """Without a terminal `local down` needs --yes; the cloud keeps running until then."""
    assert run("local", "up", "--durable", "--json")[0] == 0
    code, out, err = run("local", "down")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].endswith("there is no terminal; run: scones local down --env dev --yes")
    assert json.loads(run("local", "status", "--json")[1])["running"]
    assert json.loads(run("local", "down", "--yes", "--json")[1]) == {"stopped": True}
    assert not list(home.glob("xdg_state_home/scones/*.s3"))


def test_a_killed_local_cloud_is_not_mistaken_for_aws(home: Path) -> None:
    """A verb that went on would act on the real account; up, or local down, ends the doubt."""
    up = json.loads(run("local", "up", "--json")[1])
    os.killpg(up["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while json.loads(run("local", "status", "--json")[1])["running"] and time.monotonic() < deadline:
        time.sleep(0.05)
    for verb in ("status", "down"):
        code, out, err = run(verb)
        assert (code, out) == (1, "")
        assert "the local cloud of environment 'dev' has died" in err
    assert json.loads(run("local", "down", "--json")[1]) == {"stopped": False}
    assert list(home.glob("xdg_state_home/scones/*.up")) == []


def test_a_full_disk_is_said_in_one_line(home: Path) -> None:
    """Every write to /dev/full fails as on a full disk; so does closing the file, which Python 3.13 reports as well."""
    program = (
        "import scones.cli as c\n"
        "@c.scones.command()\n"
        "def fill():\n    f = open('/dev/full', 'w'); f.write('x'); f.flush()\n"
        "c.main(['fill'])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=home)
    assert (ended.returncode, ended.stderr.count("\n")) == (28, 1)
    assert ended.stderr.startswith("scones: the disk is full")


def test_a_bug_in_a_finalizer_is_reported() -> None:
    """Only a full disk is not said twice."""
    program = (
        "import scones.cli as c\n"
        "class Broken:\n    def __del__(self): raise ValueError('a bug')\n"
        "@c.scones.command()\n"
        "def drop():\n    Broken()\n"
        "c.main(['drop'])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ValueError: a bug" in ended.stderr


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/proc/x.csv", "No such file or directory"),
        ("dangling.csv", "No such file or directory"),
        ("dangling.csv/x.csv", "No such file or directory"),
        ("loop.csv", "Too many levels of symbolic links"),
        ("loop.csv/x.csv", "Too many levels of symbolic links"),
        ("taken.csv/x.csv", "Not a directory"),
        ("folder.csv", "Is a directory"),
        ("x" * 300 + ".csv", "File name too long"),
        ("x" * 300 + "/x.csv", "File name too long"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("classify", "photos", "--output"),
        ("classify", "photos", "--explain"),
        ("replay", "--threshold", "0.5", "--explain"),
        ("labels", "export"),
        ("review", "export"),
        ("monitor", "--to-label"),
        ("stage", "--report"),
        ("evaluate", "--report"),
        ("demo", "--report"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_one_line_before_the_work(
    home: Path, command: tuple[str, ...], place: str, words: str
) -> None:
    """There is no cloud here, of which a command that starts would complain first."""
    (home / "dangling.csv").symlink_to("nowhere/table.csv")
    (home / "loop.csv").symlink_to("loop.csv")
    (home / "taken.csv").write_text("a file")
    (home / "folder.csv").mkdir()
    before = sorted(home.rglob("*"))
    code, out, err = run(*command, place)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("scones: ")
    assert f"{words}; choose another path" in err
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("place", ["new.csv", "a/b/c.csv", "kept.csv", "fresh.csv", "/dev/null", "pipe"])
def test_a_place_is_tried_without_a_trace(home: Path, place: str) -> None:
    """A file that exists keeps its content, the pipe has no reader, and the link's folder exists."""
    (home / "kept.csv").write_text("kept")
    (home / "fresh.csv").symlink_to("target.csv")
    os.mkfifo(home / "pipe")
    before = sorted(home.rglob("*"))
    require_writable(home / place)
    assert sorted(home.rglob("*")) == before
    assert (home / "kept.csv").read_text() == "kept"


@pytest.mark.parametrize(("name", "words"), [("taken/page.html", "taken"), ("folder", "Is a directory")])
def test_a_report_that_cannot_be_written_is_one_line(pointed: Path, name: str, words: str) -> None:
    """A file where a folder should be, a folder where the file should be: which, and what to do."""
    (pointed / "taken").write_text("a file")
    (pointed / "folder").mkdir()
    for label in ("bicycle", "motorcycle"):
        photos(pointed / "photos", label, 12)
    code, out, err = run("stage", "photos", "--report", name)
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].endswith("choose another path or fix this one, and run the command again")


@pytest.mark.parametrize(
    ("cause", "code", "words"), [("KeyboardInterrupt", 130, "scones: stopped;"), ("OSError", 1, "Traceback")]
)
def test_an_interrupt_while_a_module_is_loaded_is_one(home: Path, cause: str, code: int, words: str) -> None:
    """Modules in C turn Ctrl-C into an ImportError; one of another cause is a bug, and shown whole."""
    program = (
        "from scones.cli import _exit_code; import scones.cli as c\n"
        "@c.scones.command()\n"
        f"def load():\n    raise ImportError('initialization failed') from {cause}\n"
        "raise SystemExit(_exit_code(['load']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=home)
    assert ended.returncode == code
    assert words in ended.stderr
    assert ("Traceback" in ended.stderr) == (words == "Traceback")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("KeyboardInterrupt()", 130, "scones: stopped; job j continues; it costs $1"),
        ("CloudError('no reply')", 1, "scones: no reply; job j continues; it costs $1"),
    ],
)
def test_a_stopped_command_says_what_continues(home: Path, error: str, code: int, line: str) -> None:
    """The notes of the steps that were interrupted, in one line."""
    program = (
        "from scones.cli import _exit_code; import scones.cli as c; from scones.domain.errors import CloudError\n"
        f"@c.scones.command()\ndef stop():\n    error = {error}\n"
        "    error.add_note('job j continues')\n    error.add_note('it costs $1')\n    raise error\n"
        "raise SystemExit(_exit_code(['stop']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=home)
    assert (ended.returncode, ended.stderr.strip()) == (code, line)


def test_an_unknown_setting_in_the_file_is_named(home: Path) -> None:
    """scones.toml is read by every verb, and a typing error in it stops them all."""
    (home / "scones.toml").write_text("treshold = 0.9\n")
    code, _, err = run("status")
    assert code == 1
    assert "unknown setting 'treshold'" in err


@pytest.mark.usefixtures("home")
def test_without_a_cloud_what_costs_money_is_said_and_asked_first(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no endpoint is named the verb would go to AWS: no answer means no."""
    for name, value in exports(cloud).items():
        monkeypatch.setenv(name.replace("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"), value)
    code, _, err = run("train")
    assert code == 130  # no answer came: click gives up as on Ctrl-C
    assert "costs money on AWS" in err


@pytest.mark.usefixtures("home")
def test_up_shows_price_and_changes_before_it_asks(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no endpoint is named it would go to AWS: whoever does not answer has made nothing."""
    found = exports(cloud)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    services = ("STS", "CLOUDFORMATION", "S3", "ECR", "SAGEMAKER", "SERVICE_QUOTAS", "DYNAMODB", "CLOUDWATCH_LOGS")
    for service in services:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", found["AWS_ENDPOINT_URL"])
    code, out, err = run("up", "--env", "asked")
    assert (code, out) == (130, "")
    places = [err.index(words) for words in ("price: on AWS", "preflight: names", "changes: ", "Continue?")]
    assert places == sorted(places)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found["AWS_ENDPOINT_URL"])
    assert json.loads(run("status", "--env", "asked", "--json")[1])["resources"] == []


@pytest.mark.usefixtures("home")
def test_expired_credentials_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS answers, and what to do; no traceback."""
    body = b"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>it is over</Message></Error></ErrorResponse>"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "old")
    with before(1, always=Fault("status", 403, body)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        code, out, err = run("up")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("scones: AWS rejects the credentials (ExpiredToken: it is over); renew them")


@pytest.mark.parametrize(
    ("region", "words"), [("us-esat-1", "no region 'us-esat-1'"), ("eu-north-1", "no AWS credentials found")]
)
def test_a_wrong_region_and_no_credentials_are_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, region: str, words: str
) -> None:
    """No request is sent: there is no endpoint, or there are no credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(home / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", region)
    code, _, err = run("up")
    assert code == 1
    assert words in err.splitlines()[-1]


def test_open_opens_the_page_that_a_command_writes(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is one for all of them; without it nothing is opened."""
    browser, opened = inputs / "browser", inputs / "opened"
    browser.write_text(f"#!/bin/sh\necho $1 >> {opened}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert run("stage", "photos")[0] == 0
    assert not opened.exists()
    assert run("stage", "photos", "--open")[0] == 0
    assert opened.read_text().split() == [(inputs / "reports" / "data.html").as_uri()]
    for command in ("stage", "evaluate", "monitor", "demo", "classify", "replay"):
        assert [param for param in group.commands[command].params if param.name == "open"], command


@pytest.mark.parametrize("name", ["page", ""])
def test_what_a_browser_prints_stays_out_of_stdout(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the command's own, such as one JSON object; where there is no page to open, that is said."""
    program = (
        "import scones.cli as c, scones.cli.group as g, click\n"
        "class Made:\n    report = " + repr(name) + "\n"
        "@c.scones.command()\n"
        "@g.open_option\n"
        "def draw():\n    g.open_page(Made.report); g.tell_result({'a': 1}, as_json=True)\n"
        "c.main(['draw', '--open'])"
    )
    monkeypatch.setenv("BROWSER", "/bin/echo opened %s")
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=home)
    assert json.loads(ended.stdout) == {"a": 1}
    assert ended.stderr.strip() == (
        f"opened {(home / name).as_uri()}" if name else "no page was written, so there is none to open"
    )


@pytest.mark.parametrize(
    "arguments",
    [("classify",), ("classify", "a.png"), ("classify", "photos"), ("classify", "--plan", "5"), ("replay", "x")],
)
@pytest.mark.usefixtures("home")
def test_open_without_a_page_is_refused_before_the_work(arguments: tuple[str, ...]) -> None:
    """There is no cloud here, of which a command that starts would complain."""
    code, out, err = run(*arguments, "--open")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith("add --explain PAGE, or leave out --open")


def test_cost_says_each_mode_or_one_plan() -> None:
    """Four ways without options; with options the items of one, and an instance without a price in one line."""
    rows = json.loads(run("cost", "--json")[1])["rows"]
    assert len(rows) == 4
    found = json.loads(run("cost", "--photos", "1000", "--mode", "serverless", "--kms", "--json")[1])
    assert found["cost"]["total_dollars"] == pytest.approx(1000 * found["per_photo_dollars"])
    code, _, err = run("cost", "--instance", "ml.huge")
    assert (code, err.count("\n")) == (1, 1)
    assert "no price for instance 'ml.huge'" in err


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "-1", "80", "1e400"])
@pytest.mark.parametrize(
    "option",
    [
        ("up", "--threshold"),
        ("replay", "--threshold"),
        ("simulate", "--rate"),
        ("simulate", "--duplicates"),
        ("simulate", "--corrupt"),
        ("simulate", "--shifted"),
        ("cost", "--hours"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_number_out_of_bounds_is_refused_before_the_work(option: tuple[str, ...], value: str) -> None:
    """There is no cloud here, of which a command that starts would complain."""
    if value == "80" and option[1] in {"--rate", "--hours"}:
        value = "-80"
    code, out, err = run(*option, value)
    assert (code, out) in {(1, ""), (2, "")}
    assert re.search(r"threshold = .* must be a number|is not in the range|is not a finite number", err)


def test_no_option_takes_a_number_without_bounds() -> None:
    """The threshold of `up` is a setting, and those have their own."""
    found = {
        f"{name} {param.opts[0]}"
        for name, command in group.commands.items()
        for param in command.params
        if isinstance(param.type, click.types.FloatParamType) and not isinstance(param.type, Number)
    }
    assert found == {"up --threshold"}


@pytest.mark.parametrize("arguments", [(), ("an-execution", "--threshold", "0.9")])
def test_replay_wants_an_execution_or_something_to_judge_by(arguments: tuple[str, ...]) -> None:
    """One or the other: both at once, or neither, is a mistake in the command."""
    code, _, err = run("replay", *arguments)
    assert (code, "name an EXECUTION" in err) == (2, True)


CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    "name", ["a\x1b]0;x\x07\x1b[2J.jpg", "a\nscones: all is well.jpg", "a\u202egpj.exe", "a\x9b31m.jpg"]
)
@pytest.mark.parametrize(
    "words",
    [
        ("classify",),
        ("evaluate", "--model"),
        ("evaluate", "--against"),
        ("stage",),
        ("approve",),
        (),
        ("status", "--env"),
        ("local", "status", "--env"),
        ("replay",),
        ("monitor", "--labels"),
        ("review", "skip"),
        ("review", "import"),
        ("review", "list", "--state"),
    ],
    ids=" ".join,
)
def test_no_argument_steers_the_terminal(pointed: Path, words: tuple[str, ...], name: str) -> None:
    """A shell completes file names that others chose: each command shows them with visible escapes."""
    assert pointed.is_dir()
    _, out, err = run(*words, name)
    assert err
    assert not CONTROLS.search(out + err)


def test_no_name_in_a_folder_steers_the_terminal(pointed: Path) -> None:
    """Photos and what is no photo, in the result as text and as JSON."""
    for label in ("bicycle", "motorcycle"):
        photos(pointed / "photos", label, 12)
    (pointed / "photos" / "bicycle" / "x\u202egpj.exe").write_bytes(b"no photo")
    (pointed / "photos" / "bicycle" / "[red]x\x9b2J.png").write_bytes(b"no photo")
    for options in ((), ("--json",)):
        code, out, err = run("stage", "photos", *options)
        assert code == 0, err
        assert "gpj.exe" in out
        assert not CONTROLS.search(out + err)


def test_there_is_one_way_to_the_terminal() -> None:
    """No other module of the command line prints by itself, apart from the progress bars and prompts."""
    folder = Path(scones.cli.__file__).parent
    printing = {
        path.name for path in folder.glob("*.py") if re.search(r"click\.s?echo|print\(|\.show\(\)", path.read_text())
    }
    assert printing == {"output.py", "session.py"}


def test_the_region_is_that_of_the_flag_the_environment_or_the_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; each is refused by its name before anything is asked of AWS."""
    (home / "config").write_text("[default]\nregion = ca-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert "does not work in region 'ca-west-1'" in run("status")[2]
    monkeypatch.setenv("AWS_REGION", "us-iso-east-1")
    assert "does not work in region 'us-iso-east-1'" in run("status")[2]
    code, _, err = run("status", "--region", "us-esat-1")
    assert (code, "no region 'us-esat-1'" in err) == (1, True)

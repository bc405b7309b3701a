from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.config.settings import REMOVED, RENAMED, Settings, merge
from scones.domain import decision
from scones.domain.errors import SettingsError


def test_strings_become_the_settings_own_types() -> None:
    """Flags and the environment bring strings; the settings hold numbers, paths and tuples."""
    given_as_text = {"clients": "7", "threshold": "0.9", "classes": "car, bus", "cache": "/tmp/photos"}  # noqa: S108
    settings = merge(Settings(), given_as_text, "a test")
    assert (settings.clients, settings.threshold, settings.classes) == (7, 0.9, ("car", "bus"))
    assert str(settings.cache) == "/tmp/photos"  # noqa: S108


@pytest.mark.parametrize("name", REMOVED)
def test_a_setting_that_was_removed_warns_and_changes_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of the release before still works."""
    assert merge(Settings(), {name: "3", "clients": 5}, "scones.toml") == Settings(clients=5)
    assert f"setting {name} in scones.toml has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_setting_keeps_its_old_name_for_one_release(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning on stderr names the new one."""
    value: float = 10 * (getattr(Settings(), new) or 0) or 5
    value = min(value, 0.4) if isinstance(value, float) else value
    assert getattr(merge(Settings(), {old: str(value)}, "the environment"), new) == value
    assert capsys.readouterr().err == f"warning: setting {old} in the environment is now called {new}; rename it\n"
    assert getattr(merge(Settings(), {old: "oh", new: str(value)}, "scones.toml"), new) == value


def test_none_keeps_what_was_there() -> None:
    """A flag that was not given overrides nothing."""
    assert merge(Settings(clients=3), {"clients": None}, "a test").clients == 3


def test_an_unknown_setting_is_refused_by_name() -> None:
    """A typing error in scones.toml must not be ignored."""
    with pytest.raises(SettingsError, match=r"unknown setting 'treshold' in scones\.toml; did you mean threshold\?"):
        merge(Settings(), {"treshold": 0.9}, "scones.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env", "Dev"),
        ("env", "a--b"),
        ("env", "a" * 21),
        ("env", "a-"),
        ("classes", "bicycle"),
        ("classes", "bicycle,bicycle"),
        ("threshold", "1"),
        ("threshold", "nan"),
        ("clients", "0"),
        ("clients", "many"),
        ("mode", "batch"),
        ("serverless_memory_mb", "1500"),
        ("serverless_concurrency", "201"),
        ("canary_percent", "51"),
        ("bake_seconds", "3601"),
        ("alarm_seconds", "15"),
        ("max_routed_error", "1"),
        ("guarantee_alpha", "0"),
        ("review_cost", "-1"),
        ("load_requests", "0"),
    ],
)
def test_an_impossible_value_is_refused(name: str, value: str) -> None:
    """What could not work is said before anything starts."""
    with pytest.raises(SettingsError, match=name):
        merge(Settings(), {name: value}, "a test")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "classes",
            ["a", "a"],
            "setting classes = a, a must be a list of 2 to 64 different names",
        ),
        ("threshold", True, "setting threshold = true in scones.toml must be a number above 0 and below 1"),
        ("classes", 3, "setting classes = 3 in scones.toml must be a list of 2 to 64 different names"),
        ("region", 3, "setting region = 3 in scones.toml must be text, in quotes"),
        ("clients", 9.5, "setting clients = 9.5 in scones.toml must be a whole number of at least 1"),
        ("clients", True, "clients = true in scones.toml must be a whole number"),
        ("monitor_minutes", 61, "monitor_minutes = 61 in scones.toml must be a whole number from 1 to 60"),
        ("threshold", 1, "threshold = 1 in scones.toml must be a number above 0 and below 1"),
        ("serverless_memory_mb", 1500, "from 1024 to 6144 in steps of 1024"),
        ("alarm_seconds", 15, "one of 10, 20, 30, 60, 300"),
        ("env", "Dev", "1 to 20 of a-z, 0-9 and single '-', starting with a letter"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_words(name: str, value: object, words: str) -> None:
    """A settings file has numbers, lists and text; the wrong one of them is no traceback."""
    with pytest.raises(SettingsError, match=words):
        merge(Settings(), {name: value}, "scones.toml")


@given(
    st.from_regex(r"[a-z](-?[a-z0-9]){0,9}", fullmatch=True), st.from_regex(r"[a-z](-?[a-z0-9]){0,9}", fullmatch=True)
)
def test_no_environment_owns_what_another_made(one: str, other: str) -> None:
    """The prefix of one environment's names begins no other environment's."""
    prefixes = [f"{Settings(env=env).stack}--" for env in (one, other)]
    assert one == other or not prefixes[0].startswith(prefixes[1])


@pytest.mark.parametrize("classes", [tuple(f"c{number}" for number in range(65)), ("a", "b" * 129)])
def test_more_classes_than_the_workflow_carries_are_refused(classes: tuple[str, ...]) -> None:
    """The limits of the settings are those that the functions count with."""
    assert (decision.MAX_CLASSES, decision.MAX_NAME_CHARACTERS) == (64, 128)
    with pytest.raises(SettingsError, match="64 different names of at most 128 characters"):
        replace(Settings(), classes=classes)


@pytest.mark.parametrize(
    "classes",
    [
        tuple(f"{number:02}" + "n" * 116 for number in range(64)),
        tuple(f"{number:02}" + "\u8eca" * 20 for number in range(64)),
        tuple(f"{number:02}" + "n" * 49 for number in range(50)),
    ],
)
def test_classes_that_no_training_job_could_be_given_are_refused(classes: tuple[str, ...]) -> None:
    """SageMaker takes 2,500 characters as a hyperparameter, and Lambda 4 KB of variables together."""
    with pytest.raises(SettingsError, match=r"bytes together, more than the 2,500 .*shorten the names"):
        replace(Settings(), classes=classes)


def test_many_classes_of_usual_names_are_accepted() -> None:
    """64 names of 38 characters fit."""
    assert len(replace(Settings(), classes=tuple(f"{number:02}" + "n" * 36 for number in range(64))).classes) == 64

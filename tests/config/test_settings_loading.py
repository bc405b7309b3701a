from pathlib import Path

import pytest

from scones.config.settings import load
from scones.domain.errors import SettingsError


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    """Each setting comes from the nearest place that names it."""
    (tmp_path / "scones.toml").write_text('env = "filed"\nepochs = 1\nseed = 1\n')
    environ = {"SCONES_EPOCHS": "2", "SCONES_SEED": "2"}
    settings = load({"seed": 3, "data": None}, environ, tmp_path)
    assert (settings.env, settings.epochs, settings.seed, settings.data) == ("filed", 2, 3, "auto")


def test_aws_own_variables_are_heeded(tmp_path: Path) -> None:
    """What boto3 and the aws command read, Scones reads too."""
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_DEFAULT_REGION": "eu-west-1"}
    settings = load({}, environ, tmp_path)
    assert (settings.endpoint_url, settings.region) == ("http://127.0.0.1:4566", "eu-west-1")


def test_downloads_and_local_clouds_go_where_the_desktop_standard_says(tmp_path: Path) -> None:
    """XDG_CACHE_HOME and XDG_STATE_HOME move them."""
    settings = load({}, {"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"}, tmp_path)
    assert (settings.cache, settings.state) == (Path("/c/scones"), Path("/s/scones"))


def test_a_home_folder_is_spelled_out(tmp_path: Path) -> None:
    """No folder called `~` is ever made."""
    assert load({}, {}, tmp_path).cache.is_absolute()


@pytest.mark.parametrize("text", ["epochs = ", "\udcff"])
def test_a_broken_settings_file_is_named(tmp_path: Path, text: str) -> None:
    """The message says which file."""
    (tmp_path / "scones.toml").write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=r"scones\.toml is not valid TOML"):
        load({}, {}, tmp_path)


def test_a_misspelt_variable_is_refused_like_a_misspelt_line_of_the_file(tmp_path: Path) -> None:
    """It would be passed over otherwise, and the default taken; the programs' own variables are no settings."""
    with pytest.raises(SettingsError, match=r"unknown setting 'epoch' in the environment; did you mean epochs\?"):
        load({}, {"SCONES_EPOCH": "3"}, tmp_path)
    others = {"SCONES_SERVE_WORKERS": "2", "SCONES_BIND_HOST": "::1", "SCONES_LIVE": "1"}
    assert load({}, others, tmp_path).epochs == load({}, {}, tmp_path).epochs

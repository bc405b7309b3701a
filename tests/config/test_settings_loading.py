from pathlib import Path

import boto3
import pytest

from scones.config.settings import load
from scones.domain.errors import SettingsError


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    """Each setting comes from the nearest place that names it."""
    (tmp_path / "scones.toml").write_text('env = "filed"\nclients = 1\nseed = 1\n')
    environ = {"SCONES_CLIENTS": "2", "SCONES_SEED": "2"}
    settings = load({"seed": 3, "data": None}, environ, tmp_path)
    assert (settings.env, settings.clients, settings.seed, settings.data) == ("filed", 2, 3, "auto")


def test_aws_own_variables_are_heeded(tmp_path: Path) -> None:
    """What boto3 and the aws command read, Scones reads too."""
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_DEFAULT_REGION": "eu-west-1"}
    settings = load({}, environ, tmp_path)
    assert (settings.endpoint_url, settings.region) == ("http://127.0.0.1:4566", "eu-west-1")


PROFILES = """
[default]
region = eu-central-1
[profile work]
region=eu-north-1
s3 =
    addressing_style = path
[profile "two words"]
region = ap-southeast-2
[profile silent]
output = json
[profile default-like]
region:sa-east-1
[work]
region = us-west-1
[sso-session work]
sso_region = us-west-2
[services work]
region = us-west-2
"""
CREDENTIALS = """
[default]
aws_access_key_id = a
[work2]
region = ca-central-1
[silent]
aws_access_key_id = a
"""


@pytest.mark.parametrize(
    ("config", "environ", "region"),
    [
        (PROFILES, {}, "eu-central-1"),
        (PROFILES, {"AWS_PROFILE": "work"}, "eu-north-1"),
        (PROFILES, {"AWS_PROFILE": "two words"}, "ap-southeast-2"),
        (PROFILES, {"AWS_PROFILE": "default-like"}, "sa-east-1"),
        (PROFILES, {"AWS_PROFILE": "work2"}, "ca-central-1"),
        (PROFILES, {"AWS_DEFAULT_PROFILE": "work", "AWS_PROFILE": "two words"}, "eu-north-1"),
        (PROFILES, {"AWS_PROFILE": "silent"}, None),
        ("[profile default]\nregion = eu-west-3\n", {}, "eu-west-3"),
        ("[default]\nregion = eu-west-3\n[profile default]\nregion = eu-west-2\n", {}, "eu-west-2"),
        ("[profile a b]\nregion = eu-west-3\n", {"AWS_PROFILE": "silent"}, None),
        ("", {}, None),
    ],
)
def test_the_region_is_that_of_the_aws_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, environ: dict[str, str], region: str | None
) -> None:
    """Whatever boto3 finds in these files; where it finds none, us-east-1."""
    (tmp_path / "config").write_text(config)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    for name in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (files | environ).items():
        monkeypatch.setenv(name, value)
    assert boto3.Session().region_name == region
    assert load({}, files | environ, tmp_path).region == (region or "us-east-1")


def test_a_named_region_wins_over_the_profile(tmp_path: Path) -> None:
    """In this order: the flag, the environment, scones.toml, the profile."""
    (tmp_path / "config").write_text(PROFILES)
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    (tmp_path / "scones.toml").write_text('region = "eu-west-2"\n')
    assert load({}, files, tmp_path).region == "eu-west-2"
    assert load({}, files | {"AWS_DEFAULT_REGION": "eu-west-3"}, tmp_path).region == "eu-west-3"
    both = {"AWS_DEFAULT_REGION": "eu-west-3", "AWS_REGION": "eu-west-1"}
    assert load({}, files | both, tmp_path).region == "eu-west-1"
    assert load({"region": "us-west-2"}, files | both, tmp_path).region == "us-west-2"


@pytest.mark.parametrize("content", [b"region = eu-west-1\n", b"[default\nregion", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_broken_profile_does_not_stop_commands_that_need_none(tmp_path: Path, content: bytes) -> None:
    """Whoever uses its credentials is told by boto3."""
    (tmp_path / "config").write_bytes(content)
    assert load({}, {"AWS_CONFIG_FILE": str(tmp_path / "config")}, tmp_path).region == "us-east-1"
    assert load({}, {"AWS_CONFIG_FILE": str(tmp_path)}, tmp_path).region == "us-east-1"


def test_downloads_and_local_clouds_go_where_the_desktop_standard_says(tmp_path: Path) -> None:
    """XDG_CACHE_HOME and XDG_STATE_HOME move them."""
    settings = load({}, {"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"}, tmp_path)
    assert (settings.cache, settings.state) == (Path("/c/scones"), Path("/s/scones"))


def test_a_home_folder_is_spelled_out(tmp_path: Path) -> None:
    """No folder called `~` is ever made."""
    assert load({}, {}, tmp_path).cache.is_absolute()


@pytest.mark.parametrize("text", ["clients = ", "\udcff"])
def test_a_broken_settings_file_is_named(tmp_path: Path, text: str) -> None:
    """The message says which file."""
    (tmp_path / "scones.toml").write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=r"scones\.toml is not valid TOML"):
        load({}, {}, tmp_path)


def test_a_misspelt_variable_is_refused_like_a_misspelt_line_of_the_file(tmp_path: Path) -> None:
    """It would be passed over otherwise, and the default taken; the programs' own variables are no settings."""
    with pytest.raises(SettingsError, match=r"unknown setting 'client' in the environment; did you mean clients\?"):
        load({}, {"SCONES_CLIENT": "3"}, tmp_path)
    others = {"SCONES_SERVE_WORKERS": "2", "SCONES_BIND_HOST": "::1", "SCONES_LIVE": "1"}
    assert load({}, others, tmp_path).clients == load({}, {}, tmp_path).clients

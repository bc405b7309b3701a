"""Loading: settings read once, from flags, then the environment, then `scones.toml`."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from scones.config.settings import Settings, merge
from scones.domain.errors import SettingsError

SETTINGS_FILE = "scones.toml"

_PREFIX = "SCONES_"
# Variables of the serving program and the tests are not settings.
_NOT_OURS = ("SCONES_SERVE_", "SCONES_BIND_HOST", "SCONES_LIVE", "SCONES_PHOTOS")


def load(flags: Mapping[str, object], environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings; *flags* win over *environ*, which wins over `scones.toml` in *folder*.

    Raises:
        SettingsError: an unknown name or an impossible value; the message names where it stood.
    """
    environ = os.environ if environ is None else environ
    settings = merge(Settings(), _folders(environ), "the environment")
    settings = merge(settings, _from_file((folder or Path.cwd()) / SETTINGS_FILE), SETTINGS_FILE)
    settings = merge(settings, _from_environment(environ), "the environment")
    return merge(settings, flags, "the flags")


def _folders(environ: Mapping[str, str]) -> dict[str, object]:
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "scones"
    state = Path(environ.get("XDG_STATE_HOME") or "~/.local/state") / "scones"
    return {"cache": cache, "state": state}


def _from_file(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {
        "endpoint_url": environ.get("AWS_ENDPOINT_URL") or None,
        "region": environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
    }
    named = {name.removeprefix(_PREFIX).lower(): value for name, value in environ.items() if _is_setting(name)}
    return {**values, **{name: value for name, value in named.items() if value}}


def _is_setting(variable: str) -> bool:
    """Whether it is meant as one: a typing error among them must not be passed over."""
    return variable.startswith(_PREFIX) and not variable.startswith(_NOT_OURS)

"""Context: settings read once, from flags, then the environment, then `scones.toml`."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scones.aws.client import Credentials
from scones.errors import SettingsError
from scones.settings import NAMES, Settings, merge

SETTINGS_FILE = "scones.toml"


@dataclass(frozen=True, slots=True)
class Context:
    """What a verb runs with; *credentials* is None where boto3's own chain finds them."""

    settings: Settings
    credentials: Credentials | None = None


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
    for name in NAMES:
        values.update({name: value} if (value := environ.get(f"SCONES_{name.upper()}")) else {})
    return values

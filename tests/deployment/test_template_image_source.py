import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scones.deployment.template import image_source

# `train` would load PyTorch; the slow test runs it in the image itself.
PROGRAMS = ("scones.serving.server", "scones.cli.scheduled")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build is given."""
    folder = tmp_path_factory.mktemp("context")
    zipfile.ZipFile(io.BytesIO(image_source().body)).extractall(folder)
    return folder


def test_the_same_sources_have_the_same_tag() -> None:
    """The tag is the hash of what is in the zip, and the zip is the same, byte for byte."""
    first = image_source()
    image_source.cache_clear()
    assert image_source() == first


def test_the_recipe_lies_at_the_root(unpacked: Path) -> None:
    """CodeBuild reads buildspec.yml there, Docker the Dockerfile, and that the rest."""
    names = {path.name for path in unpacked.iterdir()}
    assert {"Dockerfile", "buildspec.yml", "command.sh", "requirements.txt", "scones"} <= names


def test_what_the_image_does_not_run_is_not_in_it(unpacked: Path) -> None:
    """Neither the local cloud, nor what this machine compiled."""
    assert not (unpacked / "scones" / "local").exists()
    assert list(unpacked.rglob("__pycache__")) == []


def test_the_programs_import_from_the_zip_alone(unpacked: Path) -> None:
    """Nothing that they need was left out."""
    program = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import {', '.join(PROGRAMS)}; print(scones.__file__)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=unpacked)
    assert found.stdout.startswith(str(unpacked))

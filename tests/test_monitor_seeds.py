"""The benchmark over trainings reads model files of either kind, and says how often they fired and how soon."""

import subprocess
import sys
from pathlib import Path

from tiny_model import noisy_pngs, tar, write_tiny_model_file

ROOT = Path(__file__).parents[1]


def test_quiet_models_are_counted_and_dirty_photos_found(tmp_path: Path) -> None:
    """Two models, one of them an archive: neither fires on photos like its own, both do on dark and blurred ones."""
    write_tiny_model_file(tmp_path / "models" / "seed-1")
    write_tiny_model_file(tmp_path / "other")
    (tmp_path / "models" / "seed-2").mkdir()
    (tmp_path / "models" / "seed-2" / "model.tar.gz").write_bytes(tar(tmp_path / "other"))
    photos = noisy_pngs(100, seed=5)
    for name, part in (("bicycle", photos[:50]), ("motorcycle", photos[50:])):
        folder = tmp_path / "test" / name
        folder.mkdir(parents=True)
        for number, photo in enumerate(part):
            (folder / f"{number}.png").write_bytes(photo)
    done = _run(tmp_path / "models", "--photos", tmp_path / "test", "--orders", 3)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| seed")]
    assert [(row[0], row[3]) for row in rows] == [("| seed-1", "0 of 3"), ("| seed-2/model.tar.gz", "0 of 3")]
    assert "windows that fired: 0 of 2" in done.stdout
    assert "streams that fired: 0 of 6, of 0 models" in done.stdout
    assert "later than 40: 0, never: 0" in done.stdout


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    """One line says what was looked for, and where."""
    done = _run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} holds no model: neither model.json nor model.tar.gz lies below it\n"


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.monitor_seeds", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

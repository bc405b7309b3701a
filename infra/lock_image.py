"""Write infra/image/requirements.txt again, with the hash of each wheel: `make image-requirements`.

Each line's package keeps its place; its version is that of constraints.txt. The hashes are those that pip's index gives
for the image's platform, Linux on x86-64. With them, an image build refuses any other file, whichever index offers it.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
REQUIREMENTS: Final = ROOT / "infra" / "image" / "requirements.txt"
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    """Look up each package's wheels, and write the file."""
    names = re.findall(r"^([\w.-]+)==", REQUIREMENTS.read_text(), re.MULTILINE)
    constraints = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    versions = {canonical(name): version for name, version in constraints.items()}
    pins = {name: versions[canonical(name)] for name in names}
    hashes = wheel_hashes(pins)
    lines = [f"{name}=={version} --hash=sha256:{hashes[canonical(name)]}" for name, version in pins.items()]
    REQUIREMENTS.write_text("\n".join(lines) + "\n")
    sys.stderr.write(f"{REQUIREMENTS}: {len(lines)} packages\n")


def wheel_hashes(pins: dict[str, str]) -> dict[str, str]:
    """Return the SHA-256 of the wheel that pip would install of each package."""
    python = (ROOT / "infra" / "image" / "pins.json").read_text()
    version = re.search(r"python:(3\.\d+)", python)
    if version is None:
        raise SystemExit("pins.json names no base image python:3.x")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--only-binary=:all:", f"--python-version={version[1]}", f"--target={folder}", f"--report={report}"]
        command += [f"--platform={platform}" for platform in PLATFORMS]
        subprocess.run([*command, *(f"{name}=={pin}" for name, pin in pins.items())], check=True)
        wheels = json.loads(report.read_text())["install"]
    return {
        canonical(wheel["metadata"]["name"]): wheel["download_info"]["archive_info"]["hashes"]["sha256"]
        for wheel in wheels
    }


def canonical(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()

"""Build and run the real Dockerfile without Docker: Debian's own Python as the base, buildah in a chroot."""

import ast
import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SUITE = "bookworm"
PYTHON = (3, 11)
"""What this Debian has; pins.json names the same two."""
MIRROR = "deb.debian.org"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BASE, IMAGE = "localhost/python", "localhost/scones"

PIP_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy", "timeout")


def why_not() -> str:
    """What this machine lacks for a build; empty where it lacks nothing."""
    missing = [tool for tool in ("debootstrap", "buildah") if not shutil.which(tool)]
    if os.geteuid() != 0:
        return "building an image here needs root"
    if missing or not KEYRING.exists():
        return f"{' and '.join(missing) or KEYRING.name} is not installed; run: make image-tools"
    if sys.version_info[:2] != PYTHON:
        return "pip need not find all packages for the image's Python: this environment has another"
    try:
        with closing(http.client.HTTPConnection(MIRROR, timeout=30)) as connection:
            connection.request("HEAD", f"/debian/dists/{SUITE}/Release")
            connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return f"Debian's mirror does not answer: {error}"
    return ""


def pip_settings() -> dict[str, str]:
    """Where pip finds packages on this machine; its environment wins over its files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in PIP_KEYS:
            found[key] = str(ast.literal_eval(value))
    return found


def storage_driver(folder: Path) -> str:
    """`overlay` where it can be mounted in *folder*; `vfs`, which works everywhere, copies each layer whole."""
    parts = [folder / name for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        part.mkdir()
    told = "lowerdir={},upperdir={},workdir={}".format(*parts)
    mount = ["mount", "-t", "overlay", "overlay", "-o", told, str(parts[-1])]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if mounted:
        subprocess.run(["umount", str(parts[-1])], check=True)  # noqa: S607
    for part in parts:
        shutil.rmtree(part)
    return "overlay" if mounted else "vfs"


def needed_paths(settings: dict[str, str]) -> set[Path]:
    """The files and folders of this machine that pip's *settings* name."""
    paths = set()
    for word in " ".join(settings.values()).split():
        path = Path(re.sub("^file://", "", word))
        if path.is_absolute() and path.exists():
            # The pages of an index name files that lie beside it.
            paths.add(path.parent if word.startswith("file://") else path)
    return paths


@dataclass(frozen=True, slots=True)
class Store:
    """Where buildah keeps images and containers: all below *folder*."""

    folder: Path
    driver: str

    def command(self, *arguments: object) -> list[str]:
        """Give buildah's command line for *arguments*."""
        where = ["--root", self.folder / "store", "--runroot", self.folder / "run", "--storage-driver", self.driver]
        return [str(word) for word in ("buildah", *where, *arguments)]

    def call(self, *arguments: object) -> str:
        """Run buildah and give its output; what it says is shown when it fails."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-4000:])
        return done.stdout.strip()

    def make_base(self) -> str:
        """Make an image of Debian with its Python, as python:3.11-slim-bookworm has it; give why not, if it fails."""
        root = self.folder / "debian"
        # These files are not needed after a loss of power: dpkg need not wait for the disk.
        command = ["env", "DPKG_FORCE=unsafe-io", "debootstrap", "--variant=minbase", "--include=python3-venv"]
        command += [f"--keyring={KEYRING}", SUITE, str(root), f"http://{MIRROR}/debian"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            return f"debootstrap failed: {(made.stderr or made.stdout)[-300:]}"
        container = self.call("from", "scratch")
        self.call("add", "--quiet", container, root, "/")
        self.call("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)
        return ""

    def build(self, context: Path) -> None:
        """Build *context*; pip's settings go in as a secret, and what they name as volumes."""
        settings, secret = pip_settings(), self.folder / "pip.conf"
        secret.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        volumes = [f"--volume={path}:{path}:ro" for path in sorted(needed_paths(settings))]
        told = ["--isolation=chroot", "--pull-never", f"--build-arg=BASE={BASE}", f"--secret=id=pip,src={secret}"]
        self.call("bud", *told, *volumes, "--tag", IMAGE, context)

    @contextmanager
    def running(self, container: str, *arguments: object, **options: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command in *container* for the length of the block; whatever is left of it then is killed."""
        told = [f"--{name}={value}" for name, value in options.items()]
        command = self.command("run", "--isolation=chroot", *told, container, "--", *arguments)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            for each in descendants(process):
                each.kill()
            process.kill()
            process.communicate()

    def remove(self) -> None:
        """Remove the folder, and with it every container and image."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        # Containers are mounted there, and what an interrupted debootstrap has mounted must not be walked into.
        for mount in sorted((mount for mount in mounts if mount.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=True)  # noqa: S607
        shutil.rmtree(self.folder)


def descendants(process: "subprocess.Popen[str]") -> Sequence[psutil.Process]:
    """All that *process* has started, and what that has."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return ()

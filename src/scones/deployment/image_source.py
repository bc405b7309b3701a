"""Image: what the one container image is built from, taken from the package alone, and the tag that names it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from scones.aws.connection import Aws
from scones.deployment.template import zip_entries
from scones.domain.keys import image_source_key

_PACKAGE = files("scones")
_RECIPE = _PACKAGE.joinpath("infra", "image")

# The image has no use for the templates of CloudFormation and CodeBuild.
_LEFT_OUT = {"infra", "__pycache__"}


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What is built, as a zip with the Dockerfile at its root; *tag* is the hash of it, *base* the image below it."""

    tag: str
    base: str
    body: bytes

    @property
    def key(self) -> str:
        """Where the zip lies in the environment's bucket."""
        return image_source_key(self.tag)


@cache
def image_source() -> ImageSource:
    """Collect the recipe, the pinned requirements and the package; the same sources have the same tag."""
    entries = sorted([*_entries(_RECIPE, ""), *_entries(_PACKAGE, "scones/")])
    whole = hashlib.sha256()
    # Of what is in the zip, not of its bytes: two versions of zlib may write them differently.
    for name, body in entries:
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(body).digest())
    return ImageSource(whole.hexdigest()[:16], _base(), zip_entries(entries))


def _base() -> str:
    """The base image: by its digest, where pins.json has one."""
    pin = json.loads(_RECIPE.joinpath("pins.json").read_text())["base"]
    return f"{pin['name']}@{pin['digest']}" if pin["digest"] else str(pin["name"])


def _entries(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in folder.iterdir():
        if item.is_file():
            yield prefix + item.name, item.read_bytes()
        elif item.name not in _LEFT_OUT:
            yield from _entries(item, f"{prefix}{item.name}/")


def image_uri(aws: Aws) -> str:
    """The one container image, which trains, serves and monitors; its tag is the hash of what it is built from."""
    return f"{aws.account}.dkr.ecr.{aws.region}.amazonaws.com/{aws.name}:{image_source().tag}"

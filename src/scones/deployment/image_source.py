"""Image source: the sources of the container image, from the installed package, and their tag."""

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

# The image does not need the templates of CloudFormation and CodeBuild.
_LEFT_OUT = {"infra", "__pycache__"}


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A zip with the Dockerfile at its root; *tag* is its hash, *base* the base image."""

    tag: str
    base: str
    body: bytes

    @property
    def key(self) -> str:
        """The zip's key in the environment's bucket."""
        return image_source_key(self.tag)


@cache
def image_source() -> ImageSource:
    """Zip the Dockerfile, the pinned requirements and the package; the same sources have the same tag."""
    entries = sorted([*_entries(_RECIPE, ""), *_entries(_PACKAGE, "scones/")])
    whole = hashlib.sha256()
    # A hash of the contents, not of the zip: versions of zlib may compress differently.
    for name, body in entries:
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(body).digest())
    return ImageSource(whole.hexdigest()[:16], _base(), zip_entries(entries))


def _base() -> str:
    """The base image, by its digest if pins.json has one."""
    pin = json.loads(_RECIPE.joinpath("pins.json").read_text())["base"]
    return f"{pin['name']}@{pin['digest']}" if pin["digest"] else str(pin["name"])


def _entries(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in folder.iterdir():
        if item.is_file():
            yield prefix + item.name, item.read_bytes()
        elif item.name not in _LEFT_OUT:
            yield from _entries(item, f"{prefix}{item.name}/")


def image_uri(aws: Aws) -> str:
    """The container image for training, serving and monitoring; its tag is the hash of its sources."""
    return f"{aws.account}.dkr.ecr.{aws.region}.amazonaws.com/{aws.name}:{image_source().tag}"

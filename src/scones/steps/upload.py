"""Upload: put a folder's photos where photos to classify come in."""

import hashlib
from pathlib import Path

from scones.aws.connection import Aws
from scones.batch.results import NoPhotos
from scones.domain.keys import ASKED_PREFIX
from scones.domain.progress import Reporter

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}


def upload(aws: Aws, folder: Path, report: Reporter) -> str:
    """Upload the photos in *folder* that do not lie in the bucket yet, and return the URI of their prefix.

    The prefix mirrors the folder: photos that were taken out of it are deleted there too.

    Raises:
        NoPhotos: the folder holds none.
    """
    prefix = f"{ASKED_PREFIX}{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]}/"
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise NoPhotos(str(folder))
    there = {item.key: item.etag for item in aws.bucket.list(prefix)}
    wanted = {f"{prefix}{path.relative_to(folder).as_posix()}": path for path in paths}
    new = [(key, path.read_bytes) for key, path in wanted.items() if there.get(key) != _tag(path)]
    aws.bucket.put_all(new, report.progress)
    aws.bucket.remove(set(there) - set(wanted))
    return aws.bucket.uri(prefix)


def _tag(path: Path) -> str:
    """S3's tag of an object that is put in one piece: its MD5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.md5).hexdigest()

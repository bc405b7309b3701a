"""Upload: put a folder's photos where photos to classify come in."""

import hashlib
from pathlib import Path

from scones.aws.connection import Aws
from scones.batches import NoPhotos
from scones.progress import Reporter

_AT_ONCE = 500
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}


def upload(aws: Aws, folder: Path, report: Reporter) -> str:
    """Upload the photos in *folder* that do not lie in the bucket yet, and return the URI of their prefix.

    The prefix mirrors the folder: photos that were taken out of it are deleted there too.

    Raises:
        NoPhotos: the folder holds none.
    """
    prefix = f"incoming/{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]}/"
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise NoPhotos(str(folder))
    there = {item.key: item.etag for item in aws.bucket.list(prefix)}
    keys = [f"{prefix}{path.relative_to(folder).as_posix()}" for path in paths]
    for start in range(0, len(paths), _AT_ONCE):
        some = zip(keys[start : start + _AT_ONCE], paths[start : start + _AT_ONCE], strict=True)
        bodies = [(key, path.read_bytes()) for key, path in some]
        # S3's tag of an object that was put in one piece is its MD5.
        new = [(key, body) for key, body in bodies if there.get(key) != hashlib.md5(body).hexdigest()]  # noqa: S324
        aws.bucket.put_all(new, lambda *_: None)
        report.progress(start + len(bodies), len(paths), "photos in the bucket")
    aws.bucket.remove(set(there) - set(keys))
    return aws.bucket.uri(prefix)

"""Check that a version can be released: `python docs/changelog.py v0.2.0`, with the standard library alone."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def why_not(tag: str, changelog: str, package: str) -> str:
    """Why the version that *tag* names cannot be released with this changelog, "" if it can.

    *package* is the version that pyproject.toml has.
    """
    version = tag.removeprefix("v")
    if tag != f"v{package}":
        return f"the tag is {tag}, but pyproject.toml has version {package}; tag v{package}, or change the version"
    for title, text in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE):
        name, _, when = title.partition(" ")
        if name.strip("[]") == version:
            if not _DATE.search(when):
                return f"CHANGELOG.md has {title!r}; write the date of the release in place of {when or 'nothing'!r}"
            if not re.search(r"^- ", text, re.MULTILINE):
                return f"the section {title!r} of CHANGELOG.md is empty; list what users see"
            return ""
    return f"CHANGELOG.md has no section {version!r}; add `## {version} - YYYY-MM-DD` with what users see"


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    said = runpy.run_path(str(ROOT / "src" / "scones" / "domain" / "__init__.py"))["VERSION"]
    if reason := why_not(sys.argv[1], (ROOT / "CHANGELOG.md").read_text("utf-8"), project["version"]):
        sys.exit(f"cannot release: {reason}")
    if said != project["version"]:
        sys.exit(f"cannot release: scones.domain.VERSION is {said}, but pyproject.toml has {project['version']}")

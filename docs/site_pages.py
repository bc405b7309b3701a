"""MkDocs hooks: pages from outside docs/ and from the code, notebooks as pages, and the files that pages link to."""

import json
import posixpath
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "local-cloud-services.md": "src/scones_local/README.md",
}
"""Pages of the site that the repository has elsewhere, because people look for them there."""
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
_REQUESTS = re.compile(
    r"""(?:<(?:script|img|iframe|source)\b[^>]*\bsrc|<link\b[^>]*\bhref)=["']?(?:https?:)?//[^"' >]+"""
)


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """Fill the section of the decisions, which are in no other list than their folder."""
    pages = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    section = next(entry["Explanation"] for entry in config.nav if "Explanation" in entry)
    section.append({"Decisions": ["adr/README.md", *(f"adr/{name}" for name in pages)]})
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages from outside docs/ and from the code, notebooks as pages, and every file that a page links to."""
    for uri, source in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_text("utf-8")))
    for uri, text in runpy.run_path(str(ROOT / "docs" / "python_api.py"))["pages"]().items():
        files.append(File.generated(config, uri, content=text))
    for notebook in [file for file in files if re.fullmatch(r"notebooks/[^/]*\.ipynb", file.src_uri)]:
        text = notebook_page(json.loads(notebook.content_string))
        files.append(File.generated(config, notebook.src_uri.replace(".ipynb", ".md"), content=text))
    for page in files.documentation_pages():
        for _, target, _ in _LINK.findall(_CODE.sub("", page.content_string)):
            source = _in_repository(page.src_uri, target)
            uri = _in_site(source)
            if not uri.endswith(".md") and (ROOT / source).is_file() and files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Lead each link to where the site has its target."""
    here = page.file.src_uri

    def lead(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        uri = _in_site(_in_repository(here, target))
        return f"{before}{posixpath.relpath(uri, posixpath.dirname(here) or '.')}{after}"

    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("`") else _LINK.sub(lead, part) for part in parts)


def on_post_page(output: str, page: "Page", **_: object) -> str:
    """Refuse a page that would ask another host for anything: the site works offline, and tells no one who reads it."""
    if asked := _REQUESTS.findall(output):
        raise SystemExit(f"{page.file.src_uri} asks another host: {asked[0]}")
    return output


def notebook_page(notebook: Mapping[str, list[Mapping[str, object]]]) -> str:
    """A notebook as a page: its words and its code."""
    texts = (("".join(cell["source"]), cell["cell_type"]) for cell in notebook["cells"])  # type: ignore[arg-type]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for text, kind in texts) + "\n"


def _in_repository(page: str, target: str) -> str:
    """The path in the repository of what *page* of the site links to."""
    folder = posixpath.dirname(OUTSIDE.get(page, f"docs/{page}"))
    return posixpath.normpath(posixpath.join(folder, target))


def _in_site(path: str) -> str:
    """The path in the site of a file of the repository."""
    outside = {source: uri for uri, source in OUTSIDE.items()}
    return outside.get(path) or (path[5:] if path.startswith("docs/") else f"repository/{path}")

import importlib.util
import inspect
import re
import runpy
from pathlib import Path

from scones.domain.errors import SconesError
from scones.retraining import PythonPipeline

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_what_the_code_says() -> None:
    """`make docs` would change nothing."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages = generate.pages()
    assert {path: path.read_text() for path in pages} == pages


def test_the_page_of_the_errors_has_every_class_with_its_messages() -> None:
    """What the code raises on purpose, below what it descends from; the site's build makes the page."""
    page = runpy.run_path(str(ROOT / "docs" / "python_api.py"))["pages"]()["errors.md"]
    named = re.findall(r"^#+ (\w+)$", page, re.MULTILINE)
    assert len(named) == len(set(named)) >= 100
    assert {kind.__name__ for kind in SconesError.__subclasses__() if kind.__module__.startswith("scones.")} <= set(
        named
    )
    assert "### MissingExtra\n\nPackages of an extra are not installed" in page
    assert "- `{packages} is not installed; run: {name} -m pip install 'scones[{extra}]'`" in page
    assert "| `AccessDenied`, `AccessDeniedException`, `UnauthorizedOperation` | your credentials lack this" in page
    # The others are bases, or their reasons are on other pages, such as those of "Refusal".
    sections = re.findall(r"^#+ (\w+)\n((?:(?!#).*\n)*)", page, re.MULTILINE)
    assert sum("\n- `" in text for _, text in sections) >= len(sections) - 17
    assert not re.search(r"\{(?:len|str|join|[A-Z]\w*|_\w*)\}", page), "a name of the code says nothing to a reader"


def test_the_page_of_python_has_every_method_and_every_result() -> None:
    """With its parameters, and what it raises."""
    page = runpy.run_path(str(ROOT / "docs" / "python_api.py"))["pages"]()["python.md"]
    methods = [name for name, _ in inspect.getmembers(PythonPipeline, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in methods if f"### {name}\n\n`{name}(" not in page] == []
    assert "| Evaluation | `predictions` | `dollars_per_1000` by `threshold` of `threshold.selection.curve` |" in page

"""The rules of the source tree that no linter checks: cycles, sizes, names and words."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_IMPORTS = 25
"""Most modules of ours that one module may import."""
SHORT_LINES, MAX_SHORT_SHARE = 50, 0.12
"""A file below this length is usually a part of another; this share of them may be shorter."""
MAX_REPEATED_NAMES = 0.05
"""The share of classes whose name another class has, too."""
VAGUE = {"utils", "util", "helpers", "common", "misc", "manager", "base"}
COINED = re.compile(
    r"(?<![a-z])(nobody|somebody|anew|hereof|thereof|rings|rang|stands(?! for)|by the books|sure enough)(?![a-z])",
    re.IGNORECASE,
)
"""Words for which the field, or plain English, has better ones."""

Graph = Mapping[str, set[str]]


def tracked(*patterns: str) -> list[Path]:
    """Every file of the project that git tracks and that matches."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@cache
def modules() -> dict[str, ast.Module]:
    """Every module below src, by its full name; a package by its own."""
    found = {}
    for path in tracked("src/*.py"):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


@cache
def imports() -> Graph:
    """Which modules of ours each module imports, in functions and for annotations, too."""
    return {name: set(_imported(name, tree)) for name, tree in modules().items()}


def _imported(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            candidates = [each if each in modules() else node.module for each in full]
        else:
            continue
        yield from (each for each in candidates if each in modules() and each != name)


def cycles(graph: Graph) -> list[set[str]]:
    """The groups of nodes that can all reach each other."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached.get(other, ())) for node in graph}
    return [set(group) for group in groups if group]


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    pending = list(graph.get(start, ()))
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(graph.get(node, ()))
    return found


def merged(graph: Graph, name_of: Mapping[str, str]) -> Graph:
    """The same graph between groups of nodes, by the names of the groups."""
    whole: dict[str, set[str]] = {}
    for node, targets in graph.items():
        group = name_of[node]
        whole.setdefault(group, set()).update(name_of[each] for each in targets if name_of[each] != group)
    return whole


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Also not inside functions, or for annotations only."""
    assert cycles(imports()) == []


def test_packages_do_not_import_each_other_in_a_circle() -> None:
    """Neither the packages of scones, nor the packages inside one of them."""
    assert cycles(merged(imports(), {name: ".".join(name.split(".")[:2]) for name in modules()})) == []
    packages = {name.rpartition(".")[0] for name in modules()} - {""}
    outer = {name.rpartition(".")[0] for name in packages}
    inner = {name: name.rpartition(".")[0] for name in modules() if name not in packages}
    # A module beside packages, such as monitoring/inspect.py, counts as a package of its own.
    nodes = {name: name if inner.get(name, name) in outer else inner.get(name, name) for name in modules()}
    assert cycles(merged(imports(), nodes)) == []


def test_no_module_imports_more_than_a_person_can_keep_in_mind() -> None:
    """At most so many modules of ours."""
    assert {name: len(found) for name, found in imports().items() if len(found) > MAX_IMPORTS} == {}


def test_few_files_are_short() -> None:
    """A file of 30 lines that one other imports is a part of that one."""
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in tracked("src/*.py")}
    short = [str(path) for path, count in lines.items() if count < SHORT_LINES and path.name != "__init__.py"]
    assert len(short) <= MAX_SHORT_SHARE * len(lines), short


def test_a_class_name_means_one_thing() -> None:
    """At most 5% of the classes have a name that another class has, too."""
    names = Counter(
        node.name for tree in modules().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    repeated = {name: count for name, count in names.items() if count > 1}
    assert sum(repeated.values()) <= MAX_REPEATED_NAMES * names.total(), repeated


def test_no_module_has_a_vague_name() -> None:
    """`utils` and its like do not tell what they contain."""
    assert [path for path in tracked("src/*.py") if path.stem in VAGUE] == []


def test_code_help_and_docs_use_plain_words() -> None:
    """No word of a private language, in the source, the tests, the templates or the documentation."""
    assert coined([path for path in tracked("*") if path not in (Path(__file__), ROOT / "LICENSE")]) == []


def coined(paths: Iterable[Path]) -> list[str]:
    """Where such a word is: path, line and word."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {word.group()}"
        for path in paths
        if path.suffix in {".py", ".md", ".j2", ".html", ".yaml", ""} and path.is_file()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        for word in COINED.finditer(line)
    ]


def test_each_decision_has_one_page_with_a_number_of_its_own() -> None:
    """docs/adr/NNNN-name.md: status, context, options, decision, consequences; the index lists it."""
    pages = tracked("docs/adr/[0-9]*.md")
    numbers = [path.name[:4] for path in pages]
    assert len(numbers) == len(set(numbers))
    index = (ROOT / "docs/adr/README.md").read_text()
    assert [page.name for page in pages if f"({page.name})" not in index] == []
    for page in pages:
        lines = page.read_text().splitlines()
        headings = ("Status:", "## Context", "## Options", "## Decision", "## Consequences")
        assert [word for word in headings if not any(line.startswith(word) for line in lines)] == []


def test_no_test_is_switched_off() -> None:
    """A failing test is fixed or removed."""
    switched_off = ("pytest.mark." + "skip(", "pytest.mark." + "xfail")
    assert [path for path in tracked("tests/*.py") if any(mark in path.read_text() for mark in switched_off)] == []

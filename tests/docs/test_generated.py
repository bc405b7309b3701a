import importlib.util
from pathlib import Path

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

"""No operation of the product's goes without a contract case."""

import re
from pathlib import Path

import scones

CALL = re.compile(r'\b(?:call|pages)\(\s*"([a-z0-9_]+)"')
PRODUCT = Path(scones.__file__).parent / "aws"
ELSEWHERE = {"invoke_endpoint", "put_object", "get_object", "put_item"}
"""What the Lambda functions call, straight through boto3."""


def test_every_operation_has_a_case() -> None:
    """Each operation that scones.aws calls is called by a test of this folder."""
    used = {name for path in PRODUCT.glob("*.py") for name in CALL.findall(path.read_text())} | ELSEWHERE
    cases = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert len(used) > 20
    assert sorted(name for name in used if f".{name}(" not in cases) == []

"""No operation of the product's goes without a contract case."""

import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest

import scones
from contract.shapes import request_faults

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


@pytest.mark.parametrize(
    ("operation", "members", "words"),
    [
        ("CreateTrainingJob", {"HyperParameters": {"classes": "n" * 2501}}, "2501 is not between"),
        ("CreateTrainingJob", {"HyperParameters": {f"{n}": "" for n in range(101)}}, "101 is not between"),
        ("CreateEndpoint", {"EndpointName": "e" * 64}, "64 is not between 0 and 63"),
        ("CreateEndpoint", {"EndpointName": "with_underscore"}, "does not match"),
        ("CreateEndpointConfig", {"ProductionVariants": [{"InstanceType": "ml.none.large"}]}, "is not one of"),
        ("CreateEndpointConfig", {"ProductionVariants": []}, "0 is not between 1"),
        ("CreateEndpointConfig", {"DataCaptureConfig": {"InitialSamplingPercentage": 101}}, "101 is not between"),
        ("StopTrainingJob", {}, "required, and missing"),
        ("StopTrainingJob", {"Name": "n"}, "not a member"),
    ],
)
def test_a_request_that_aws_would_refuse_is_found(operation: str, members: dict[str, Any], words: str) -> None:
    """Every test of the suite holds what Scones sends to this check; see tests/conftest.py."""
    model = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation)
    assert words in "; ".join(request_faults(model, members))

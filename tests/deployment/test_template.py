import ast
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from scones.aws.client import partition
from scones.aws.connection import Aws
from scones.deployment.cleanup import open_cleanup
from scones.deployment.template import (
    function_code,
    function_names,
    image_uri,
    state_machine,
    template,
    template_for,
)

ALLOWED = {
    "base64",
    "binascii",
    "boto3",
    "botocore",
    "collections",
    "concurrent",
    "contextvars",
    "contextlib",
    "dataclasses",
    "decimal",
    "difflib",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "http",
    "json",
    "logging",
    "math",
    "os",
    "pathlib",
    "re",
    "scones",
    "struct",
    "sys",
    "tempfile",
    "time",
    "types",
    "typing",
    "unicodedata",
    "urllib",
    "uuid",
    "zlib",
}


def test_the_same_sources_give_the_same_zip() -> None:
    """An unchanged release changes nothing: its key is the hash of its bytes."""
    assert function_code() == function_code()


def test_the_functions_carry_no_model_code() -> None:
    """Every import in the zip is the standard library, Lambda's own boto3, or in the zip itself."""
    with zipfile.ZipFile(io.BytesIO(function_code().body)) as archive:
        names = set(archive.namelist())
        for name in names:
            for node in ast.walk(ast.parse(archive.read(name))):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                for module in modules:
                    assert module.split(".")[0] in ALLOWED, (name, module)
                    path = module.replace(".", "/")
                    assert not module.startswith("scones") or {f"{path}.py", f"{path}/__init__.py"} & names


def test_the_unpacked_zip_imports_by_itself(tmp_path: Path) -> None:
    """Nothing that the functions need is missing from the zip."""
    zipfile.ZipFile(io.BytesIO(function_code().body)).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import scones.data.image_header as h; print(h.__file__)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.startswith(str(tmp_path))


def test_the_template_holds_the_state_machine_natively() -> None:
    """Linters and people see states, not a string."""
    machine = template()["Resources"]["Workflow"]["Properties"]  # type: ignore[index]
    assert machine["Definition"] == state_machine("classify.asl.json")
    assert "DefinitionS3Location" not in machine


@pytest.mark.slow
def test_cloudformation_accepts_the_template(tmp_path: Path) -> None:
    """cfn-lint finds neither errors nor warnings."""
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(template()))
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    found = subprocess.run([cfn_lint, str(path)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize(("region", "part"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_every_arn_of_the_template_is_of_the_region_s_partition(aws: Aws, region: str, part: str) -> None:
    """Step Functions refuses an integration of another partition; image and bucket have its domain."""
    there = replace(aws, region=region)
    text = json.dumps(template_for(there, {"MonthlyDollars": "5"}))
    assert f"arn:{part}:states:::lambda:invoke" in text
    assert "arn:aws:" not in text
    assert there.batch_machine.startswith(f"arn:{part}:states:{region}:")
    assert image_uri(there).split("/")[0].endswith("amazonaws.com.cn" if part == "aws-cn" else "amazonaws.com")
    budget = open_cleanup(there)._budget_arn
    assert budget == f"arn:{part}:budgets::{aws.account}:budget"


@pytest.mark.parametrize(("dollars", "budgets"), [({}, 0), ({"MonthlyDollars": "0"}, 0), ({"MonthlyDollars": "20"}, 1)])
@pytest.mark.parametrize("base", [True, False])
def test_the_template_has_a_budget_only_if_one_is_wanted(
    aws: Aws, dollars: dict[str, str], budgets: int, base: bool
) -> None:
    """CloudFormation refuses the type in half of the regions, whatever a condition says."""
    kinds = [each["Type"] for each in template_for(aws, dollars, base=base)["Resources"].values()]  # type: ignore[attr-defined]
    assert kinds.count("AWS::Budgets::Budget") == budgets


REGIONS = (
    *("us-east-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-central-1", "eu-north-1"),
    *("ap-south-1", "ap-northeast-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1"),
)
UNUSED_WITHOUT_A_BUDGET = "W2001,W8001"
ONLY_ARN_AWS = "E3601"
"""cfn-lint's schema of a state machine has the ARNs of no other partition."""


@pytest.mark.slow
@pytest.mark.parametrize("base", [True, False], ids=["base", "whole"])
def test_cloudformation_accepts_what_is_sent_in_every_region(aws: Aws, tmp_path: Path, base: bool) -> None:
    """The base stack's template and the whole one, as they are sent there; cfn-lint knows each region's types."""
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    for region in REGIONS:
        path = tmp_path / f"{region}.json"
        path.write_text(json.dumps(template_for(replace(aws, region=region), {}, base=base)))
        ignored = UNUSED_WITHOUT_A_BUDGET + ("" if partition(region) == "aws" else f",{ONLY_ARN_AWS}")
        options = ["--regions", region, "--ignore-checks", ignored]
        found = subprocess.run([str(cfn_lint), *options, "--", str(path)], capture_output=True, text=True, check=False)
        assert (region, found.returncode, found.stdout) == (region, 0, "")


def test_cfn_lint_would_find_a_type_that_a_region_lacks(tmp_path: Path) -> None:
    """The test above is no formality."""
    path = tmp_path / "stack.json"
    budget = {"Type": "AWS::Budgets::Budget", "Properties": {"Budget": {"BudgetType": "COST", "TimeUnit": "MONTHLY"}}}
    path.write_text(json.dumps({"Resources": {"Budget": budget}}))
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    command = [str(cfn_lint), "--regions", "eu-north-1", "--", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "'AWS::Budgets::Budget' does not exist in 'eu-north-1'" in found.stdout


def test_the_functions_are_named_as_in_the_template() -> None:
    """Their names are read without parsing the template."""
    functions = [each for each in template()["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]  # type: ignore[attr-defined]
    names = [each["Properties"]["FunctionName"]["Fn::Sub"] for each in functions]
    assert sorted(f"scones-${{Env}}-{name}" for name in function_names()) == sorted(names)

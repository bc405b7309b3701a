import ast
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scones.deployment.template import function_code, function_names, state_machine, template

ALLOWED = {
    "base64",
    "binascii",
    "boto3",
    "botocore",
    "collections",
    "concurrent",
    "contextlib",
    "dataclasses",
    "decimal",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "json",
    "logging",
    "math",
    "os",
    "re",
    "scones",
    "struct",
    "typing",
    "uuid",
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


def test_the_functions_are_named_as_in_the_template() -> None:
    """Their names are read without parsing the template."""
    functions = [each for each in template()["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]  # type: ignore[attr-defined]
    names = [each["Properties"]["FunctionName"]["Fn::Sub"] for each in functions]
    assert sorted(f"scones-${{Env}}-{name}" for name in function_names()) == sorted(names)

"""The template, held against checkov's rules: offline, with four skips, each with its reason."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scones.deployment.template import template

CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"

SKIPPED = {
    "CKV_AWS_18": "S3 access logs need a second bucket, which `scones down` could not empty while S3 writes to it; "
    "CloudTrail's data events tell the same, and are the account's to choose",
    "CKV_AWS_115": "reserved concurrency is taken from the rest of the account, which may have ten in all; what bounds "
    "the functions is the number of executions, batches and instances",
    "CKV_AWS_116": "a dead-letter queue serves asynchronous calls: the state machines call and see each failure, and "
    "what rules call has an EventInvokeConfig with a queue, which checkov does not read (test_template.py does)",
    "CKV_AWS_117": "in a VPC the functions would need an endpoint for each of five services, at about 7 dollars a "
    "month each, to reach what they reach by TLS and by their role; they listen nowhere and connect to nothing else",
}
assert len(SKIPPED) <= 4


@pytest.fixture
def checkov() -> Path:
    """Checkov, in an environment of its own: it pins libraries that we use in other versions."""
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed; `make test-slow` does it where the network allows")
    return CHECKOV


def judge(checkov: Path, stack: Any, folder: Path) -> tuple[int, dict[str, list[str]]]:
    """How many rules were kept, and which were broken by what."""
    path = folder / "stack.json"
    path.write_text(json.dumps(stack))
    options = ["--skip-download", "--framework", "cloudformation", "--compact", "--quiet", "--output", "json"]
    # Alone with its files: no settings of the user's, and no reporting.
    environment = {"PATH": os.defpath, "HOME": str(folder), "BC_SKIP_MAPPING": "TRUE"}
    found = subprocess.run(
        [checkov, *options, "-f", path], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    report = json.loads(found.stdout)
    assert report["summary"]["parsing_errors"] == 0, found.stderr
    failed: dict[str, list[str]] = {}
    for check in report["results"]["failed_checks"]:
        failed.setdefault(check["check_id"], []).append(check["resource"])
    return report["summary"]["passed"], failed


@pytest.mark.slow
def test_checkov_finds_nothing_but_what_is_skipped_with_a_reason(checkov: Path, tmp_path: Path) -> None:
    """And each skip is still needed."""
    passed, failed = judge(checkov, template(), tmp_path)
    assert passed > 150
    assert set(failed) == set(SKIPPED), failed


@pytest.mark.slow
def test_checkov_would_find_a_fault(checkov: Path, tmp_path: Path) -> None:
    """A bucket that anybody may read is told: the test above is no formality."""
    stack: Any = template()
    del stack["Resources"]["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]
    _, failed = judge(checkov, stack, tmp_path)
    assert failed["CKV_AWS_53"] == ["AWS::S3::Bucket.Bucket"]

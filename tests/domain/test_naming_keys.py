"""Keys: the stack and the code name the same places in the bucket, and one module spells them."""

import re
from datetime import UTC, datetime
from pathlib import Path

from scones.domain import naming

ROOT = Path(naming.__file__).parents[3]
PREFIXES = set(re.findall(r"`(\w+/)", naming.__doc__ or ""))


def test_the_stack_names_no_other_prefix() -> None:
    """Policies and lifecycle rules hold for what the code writes."""
    text = "".join(path.read_text("utf-8") for path in sorted((ROOT / "infra" / "stack").glob("*.yaml")))
    named = set(re.findall(r"\$\{Bucket\.Arn\}/(\w+/)", text)) | set(re.findall(r"\bPrefix: (\w+/)", text))
    assert named <= PREFIXES
    assert len(named) > 7


def test_no_other_module_spells_a_prefix() -> None:
    """A key that is written in two places changes in one of them."""
    spelled = re.compile(r"""f?["'](?:asked|batches|capture|checkpoints|flow|incoming|models|monitor|releases)/""")
    paths = [path for path in (ROOT / "src" / "scones").rglob("*.py") if path.name != "naming.py"]
    assert [str(path) for path in paths if spelled.search(path.read_text("utf-8"))] == []


def test_all_of_a_data_version_lies_below_its_prefix() -> None:
    """Its manifests, lists, reports and photos; users and IAM policies name these places."""
    version = naming.version_prefix("v1")
    assert naming.manifest_key("v1", "train") == f"{version}train.jsonl"
    assert naming.list_key("v1", "train") == f"{version}train.lst"
    assert naming.report_key("v1", "html") == f"{version}report.html"
    assert naming.split_prefix("v1", "test") == f"{version}test/"
    assert naming.outliers_prefix("v1") == f"{version}outliers/"


def test_internal_requests_are_told_from_traffic_by_their_ids() -> None:
    """Evaluations, batches and probes send them; a caller's id and none are traffic."""
    made = (naming.evaluation_id("a" * 64), naming.batch_id("a" * 16), naming.probe_id("a" * 64))
    assert made == ("scones-evaluation-" + "a" * 16, "scones-batch-" + "a" * 16, "scones-canary-" + "a" * 16)
    assert all(naming.is_internal(each) for each in made)
    assert not any(naming.is_internal(each) for each in (None, "", "order-7", "scones"))


def test_keys_of_runs_and_releases_sort_by_time_and_number() -> None:
    """A listing of the bucket is in the order of the text."""
    assert naming.release_key(2) < naming.release_key(10)
    earlier, later = datetime(2026, 9, 30, 9, 5, tzinfo=UTC), datetime(2026, 10, 1, 8, tzinfo=UTC)
    assert naming.run_suffix(earlier) < naming.run_suffix(later)
    assert naming.alert_key(earlier, "html") < naming.alert_key(later, "html")

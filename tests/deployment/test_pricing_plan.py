"""The plan on paper: plain formulas, and the same numbers as infra/ has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.deployment.pricing import (
    SINGLE,
    Assumptions,
    BatchPlan,
    batch_bill,
    orchestration_dollars,
    plan_batch,
    single_bill,
)
from scones.deployment.template import state_machine, template

MILLION = 1_000_000


def over(plan: BatchPlan) -> list[str]:
    """The quotas that the plan would not keep."""
    return [quota.what for quota in plan.quotas if not quota.kept]


def test_the_plan_assumes_what_infra_says() -> None:
    """The batch's size, and the function's memory."""
    batcher = state_machine("batch.asl.json")["States"]["ClassifyBatches"]["ItemBatcher"]  # type: ignore[index]
    function = template()["Resources"]["ClassifyBatchFunction"]["Properties"]  # type: ignore[index]
    assert Assumptions().batch == batcher["MaxItemsPerBatch"]
    assert Assumptions().memory_gigabytes == function["MemorySize"] / 1024


def test_a_million_photos_in_batches_cost_less_than_a_dollar_to_orchestrate() -> None:
    """10,000 children: their transitions cost most, then the functions' time."""
    plan = plan_batch(MILLION)
    assert plan.batches == 10_000
    assert plan.orchestration_dollars < 1
    transitions = next(item for item in plan.cost.items if item.what == "Step Functions, transitions")
    assert transitions.dollars == pytest.approx(0.25, rel=0.001)
    assert over(plan) == []


def test_orchestrating_a_million_single_photos_costs_less_than_three_dollars() -> None:
    """Four functions and one Express execution each; the decision's record comes on top."""
    assert orchestration_dollars(single_bill(MILLION)) < 3
    names = ("Serialize", "Classify", "Filter", "Dispatch")
    functions = [template()["Resources"][f"{name}Function"] for name in names]  # type: ignore[index]
    assert [memory for _, memory in SINGLE] == [each["Properties"]["MemorySize"] / 1024 for each in functions]


def test_a_hundred_million_photos_need_several_manifests() -> None:
    """More instances keep the time, and the quota that breaks is named: a manifest's size."""
    plan = plan_batch(100 * MILLION)
    assert plan.seconds <= 8 * 3600
    assert plan.instances > 1
    assert over(plan) == ["bytes of a manifest"]
    assert any(line.startswith("OVER: bytes of a manifest") for line in plan.summary())


@given(st.integers(1, 10**9))
def test_more_photos_never_cost_less_nor_end_sooner_per_instance(photos: int) -> None:
    """Every figure is positive, batches hold all photos, and the work fits the instances."""
    plan, more = plan_batch(photos), plan_batch(2 * photos)
    assert plan.batches * 100 >= photos
    assert plan.seconds * plan.instances * 400 >= photos * (1 - 1e-9)
    assert 0 < plan.cost.total_dollars <= more.cost.total_dollars
    assert plan.concurrency <= plan.batches


def test_a_command_that_asked_nothing_cost_nothing() -> None:
    """The bill of a run that was complete already is empty."""
    assert batch_bill(0).items == ()


def test_every_quota_says_where_and_when() -> None:
    """A source, a day, and whether it was seen there."""
    assert all(quota.source.startswith("https://") and quota.as_of for quota in plan_batch(1).quotas)
    assert any("to be checked" in line for line in plan_batch(1).summary())

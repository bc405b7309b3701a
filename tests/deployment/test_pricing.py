"""What runs, batches and environments cost: dated prices times quantities, which infra/ agrees with."""

import json
import math
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scones.cli.group import scones
from scones.cli.render import render
from scones.config.settings import Settings
from scones.deployment.pricing import (
    BATCH_GIGABYTES,
    BATCH_PHOTOS,
    HOURS_PER_MONTH,
    SINGLE_PHOTO_FUNCTIONS,
    BatchPlan,
    LineItem,
    TooFewHours,
    UnknownPrice,
    Workload,
    WorkloadMode,
    batch_bill,
    bill,
    cost,
    cost_table,
    endpoint_usage,
    estimate,
    express_usage,
    hourly_dollars,
    idle_hourly_dollars,
    idle_usage,
    kept_monthly_dollars,
    plan_batch,
    price_of,
    price_table,
    single_usage,
    template_resources,
    up_price,
    workload,
)
from scones.deployment.template import state_machine, template
from scones.domain.errors import InvalidParameter

MILLION = 1_000_000
modes = st.sampled_from(get_args(WorkloadMode))
photos = st.integers(1, 10**8)
# The first example reads the template.
unhurried = hypothesis_settings(deadline=None)


def test_the_table_says_when_and_where() -> None:
    """Prices carry their day and region, and a source or a mark of doubt."""
    table = price_table()
    assert date.fromisoformat(table.as_of) >= date(2026, 11, 1)
    assert table.region == "us-east-1"
    assert all(price.dollars > 0 and price.per > 0 for price in table.prices.values())


def test_nothing_used_costs_nothing() -> None:
    """A run that did nothing has no line."""
    assert bill({}).items == ()
    assert bill({}).total_dollars == 0


def test_an_hour_of_training_costs_the_instance_s_price() -> None:
    """One hour of ml.m5.xlarge at 23 cents."""
    (line,) = bill({"training:ml.m5.xlarge": 1}).items
    assert (line.what, line.quantity, line.unit) == ("SageMaker training, ml.m5.xlarge", 1, "hours")
    assert line.dollars == pytest.approx(0.23)


def test_a_million_photos_through_a_standard_workflow_cost_125_dollars() -> None:
    """Five transitions a photo at 25 dollars a million."""
    assert bill({"states_transition": 5 * MILLION}).total_dollars == pytest.approx(125)


def test_a_million_photos_through_an_express_workflow_cost_little() -> None:
    """Requests at one dollar a million, and time in the smallest memory step."""
    total = bill(express_usage(MILLION, 0.25 * MILLION)).total_dollars
    assert total == pytest.approx(1 + 300_000 * 64 / 1024 * 0.00001667)


def test_a_million_photos_are_put_and_got_for_5_dollars_40() -> None:
    """Writing costs twelve times what reading does."""
    assert bill({"s3_put": MILLION, "s3_get": MILLION}).total_dollars == pytest.approx(5.40)


def test_three_million_lambda_requests_cost_60_cents() -> None:
    """Before the time they take."""
    assert bill({"lambda_request": 3 * MILLION}).total_dollars == pytest.approx(0.60)


def test_an_endpoint_left_running_is_named() -> None:
    """The bill warns of a month of the endpoint: 730 hours."""
    assert bill({"endpoint:ml.m5.xlarge": 0.01}).endpoint_month_dollars == pytest.approx(167.9)


def test_an_unknown_instance_is_one_clear_line() -> None:
    """The error names the type and what to do."""
    with pytest.raises(UnknownPrice, match=r"ml\.huge.*prices\.json"):
        bill({"training:ml.huge": 1})


@pytest.mark.parametrize(("verb", "word"), [("deploy", "scones down"), ("train", "hour"), ("classify", "cents")])
def test_each_verb_has_a_sentence(verb: str, word: str) -> None:
    """Whoever is asked to go on knows what it costs."""
    assert word in price_of(verb, Settings())


def test_the_price_is_that_of_the_settings_own_instances() -> None:
    """Three larger instances cost what three cost; how far a fleet may grow is said; an unknown type is said, too."""
    fleet = Settings(endpoint_instance="ml.m5.xlarge", endpoint_instances=3, training_instance="ml.future.large")
    assert "3 ml.m5.xlarge costs $0.690 an hour ($504 a month)" in price_of("deploy", fleet)
    assert "up to $1.150 an hour" in price_of("deploy", replace(fleet, endpoint_max_instances=5))
    assert "ml.future.large costs an hourly price that the price table does not list" in price_of("train", fleet)
    assert "nothing while it is idle" in price_of("deploy", replace(fleet, mode="serverless"))


usages = st.dictionaries(st.sampled_from(list(price_table().by_name())), st.floats(0, 1e6))


@given(usages)
def test_the_total_is_the_sum_of_its_lines(usage: dict[str, float]) -> None:
    """No line is negative, and nothing is lost between lines and total."""
    result = bill(usage)
    assert all(item.dollars >= 0 for item in result.items)
    assert result.total_dollars == pytest.approx(sum(item.dollars for item in result.items))


def test_a_load_test_says_its_price_in_cents() -> None:
    """How many executions, and how cheap they are."""
    sentence = price_of("evaluate", Settings())
    assert "2,000 executions" in sentence
    assert "cents" in sentence


def test_resources_cost_by_the_hour_and_an_unknown_instance_is_no_error() -> None:
    """Two small instances and a larger one; taking down goes on where there is no price."""
    assert hourly_dollars({"ml.m5.large": 2, "ml.m5.xlarge": 1}) == pytest.approx(0.46)
    assert hourly_dollars({}) == 0
    assert hourly_dollars({"ml.m5.large": 1, "ml.future.large": 1}) is None


def over(plan: BatchPlan) -> list[str]:
    """The quotas that the plan would not keep."""
    return [quota.what for quota in plan.quotas if not quota.kept]


def test_the_plan_assumes_what_infra_says() -> None:
    """The batch's size, and the function's memory."""
    batcher = state_machine("batch.asl.json")["States"]["ClassifyBatches"]["ItemBatcher"]  # type: ignore[index]
    function = template()["Resources"]["ClassifyBatchFunction"]["Properties"]  # type: ignore[index]
    assert batcher["MaxItemsPerBatch"] == BATCH_PHOTOS
    assert function["MemorySize"] / 1024 == BATCH_GIGABYTES


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
    assert bill(single_usage(MILLION)).orchestration_dollars < 3
    names = ("Serialize", "Classify", "Filter", "Dispatch")
    functions = [template()["Resources"][f"{name}Function"] for name in names]  # type: ignore[index]
    assert [memory for _, memory in SINGLE_PHOTO_FUNCTIONS] == [
        each["Properties"]["MemorySize"] / 1024 for each in functions
    ]


def test_a_hundred_million_photos_need_several_manifests() -> None:
    """More instances keep the time, and the quota that breaks is named: a manifest's size."""
    plan = plan_batch(100 * MILLION)
    assert plan.seconds <= 8 * 3600
    assert plan.instances > 1
    assert over(plan) == ["bytes of a manifest"]
    assert any(line.startswith("OVER: bytes of a manifest") for line in render(plan).splitlines())


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
    assert any("to be checked" in line for line in render(plan_batch(1)).splitlines())


def of_photos(count: int, mode: str, **more: object) -> Workload:
    """What an estimate is for."""
    return replace(Workload(count), mode=mode, **more)  # type: ignore[arg-type]


@unhurried
@given(photos, modes)
def test_the_total_is_the_sum_of_its_lines_and_per_photo_its_share(count: int, mode: str) -> None:
    """Nothing is lost, and nothing is negative."""
    found = estimate(of_photos(count, mode))
    assert found.cost.total_dollars == pytest.approx(sum(item.dollars for item in found.cost.items))
    assert found.per_photo_dollars * count == pytest.approx(found.cost.total_dollars)
    assert all(item.dollars >= 0 for item in (*found.cost.items, *found.idle_month))
    assert found.idle_month_dollars == pytest.approx(sum(item.dollars for item in found.idle_month))


@unhurried
@given(photos, st.sampled_from(["realtime", "serverless"]))
def test_one_by_one_twice_the_photos_cost_twice_as_much(count: int, mode: str) -> None:
    """Nothing is bought in bulk."""
    once, twice = estimate(of_photos(count, mode)), estimate(of_photos(2 * count, mode))
    assert twice.cost.total_dollars == pytest.approx(2 * once.cost.total_dollars)


@unhurried
@given(photos, modes, st.booleans())
def test_more_photos_and_a_key_never_cost_less(count: int, mode: str, kms: bool) -> None:
    """In batches neither, where a last batch may be short."""
    less = estimate(of_photos(count, mode, kms=kms)).cost.total_dollars
    assert less < estimate(of_photos(2 * count, mode, kms=kms)).cost.total_dollars
    assert less <= estimate(of_photos(count, mode, kms=True)).cost.total_dollars


@unhurried
@given(st.floats(1, 1000), st.integers(1, 5))
def test_an_endpoint_that_runs_longer_costs_by_the_hour(hours: float, instances: int) -> None:
    """So many instances, so many hours, each at the type's price; the photos' own cost does not change."""
    short = estimate(of_photos(1, "realtime", hours=hours, instances=instances)).cost.total_dollars
    long = estimate(of_photos(1, "realtime", hours=2 * hours, instances=instances)).cost.total_dollars
    price = price_table().instance_hours[Workload().instance].dollars
    assert long - short == pytest.approx(hours * instances * price)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("photos", "instances") for value in (0, -5, 1.5, True, "x", math.nan, 10**400)],
        *[("hours", value) for value in (0, -1, math.nan, math.inf, "x", True, 10**400)],
        *[("memory_mb", value) for value in (0, 1023, 6145, math.nan)],
        *[("mode", value) for value in ("x", "", 3)],
    ],
)
def test_what_is_no_workload_is_refused_by_name(name: str, value: object) -> None:
    """Such a value made a negative price, or one of nan."""
    with pytest.raises(InvalidParameter, match=rf"^{name.removesuffix('_mb')} = .* must be "):
        cost(Settings(), **{name: value})


@pytest.mark.parametrize(
    ("quantity", "unit", "said"),
    [
        (1, "executions", "1 execution"),
        (0.9, "dashboard-months", "1 dashboard-month"),
        (1, "items of up to 1 KB", "1 item of up to 1 KB"),
        (1, "GB-seconds on arm64", "1 GB-second on arm64"),
        (1, "GB of logs", "1 GB of logs"),
        (1, "GB into and out of the endpoint", "1 GB into and out of the endpoint"),
        (1000, "executions", "1,000 executions"),
        (0, "requests", "0 requests"),
    ],
)
def test_one_of_a_unit_is_said_in_the_singular(quantity: float, unit: str, said: str) -> None:
    """On the command line and on the demo's page."""
    assert LineItem("x", quantity, unit, 1.0, False).amount == said


@pytest.mark.parametrize("photos", [0, -1, 10**400])
def test_a_plan_is_for_some_photos(photos: int) -> None:
    """As an estimate is."""
    with pytest.raises(InvalidParameter, match=r"^photos = .* must be a whole number from 1 to 1,000,000,000,000$"):
        plan_batch(photos)


def test_photos_that_keep_it_busy_for_longer_are_refused() -> None:
    """A million photos on half the machine take more than an hour."""
    with pytest.raises(TooFewHours, match=r"busy for 1\.4 hours, more than 1;"):
        estimate(of_photos(MILLION, "realtime", instance="ml.m5.large", hours=1))


def test_an_instance_without_a_price_is_named() -> None:
    """As everywhere."""
    with pytest.raises(UnknownPrice, match=r"ml\.huge"):
        estimate(Workload(instance="ml.huge"))


def test_a_million_serverless_photos_cost_five_dollars_sixty_at_the_endpoint() -> None:
    """Two GB for a tenth of a second each, and 100 GB of photos; nothing for an idle endpoint."""
    row = next(row for row in cost_table(Workload()).rows if row.way == "serverless")
    assert row.endpoint_dollars == pytest.approx(4.00 + 1.60)
    assert row.idle_month_dollars == pytest.approx(idle_hourly_dollars(template_resources(kms=False)) * HOURS_PER_MONTH)


def test_an_idle_endpoint_costs_the_most() -> None:
    """The table's own warning: a month of one instance beside the photos."""
    rows = {row.way: row for row in cost_table(Workload(instance="ml.m5.xlarge")).rows}
    assert rows["real-time, while busy"].idle_month_dollars > 10 * rows["serverless"].idle_month_dollars
    parts = [
        row.endpoint_dollars + row.orchestration_dollars + row.storage_dollars + row.other_dollars
        for row in rows.values()
    ]
    assert parts == pytest.approx([row.photos_dollars for row in rows.values()])


def test_a_stack_that_waits_costs_by_its_alarms_metrics_dashboards_and_looks() -> None:
    """No resources, no cost; a monitor that runs more often costs more."""
    assert bill(idle_usage({})).items == ()
    assert bill(idle_usage({"AWS::CloudWatch::Alarm": 10})).total_dollars == pytest.approx(1)
    plain, with_key = template_resources(kms=False), template_resources(kms=True)
    assert idle_hourly_dollars(plain, 60) < idle_hourly_dollars(plain, 1)
    assert (idle_hourly_dollars(with_key) - idle_hourly_dollars(plain)) * HOURS_PER_MONTH == pytest.approx(1)


def test_what_is_kept_costs_by_its_bytes_an_alarm_and_a_key() -> None:
    """A gigabyte of photos, ten of images: what AWS lists for each, once a month."""
    assert kept_monthly_dollars(0, 0, kms=False) == pytest.approx(0.1)
    assert kept_monthly_dollars(10**9, 0, kms=False) == pytest.approx(0.123)
    assert kept_monthly_dollars(10**9, 10**10, kms=True) == pytest.approx(2.123)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(), "$0.115 an hour ($84 a month) until: scones down"),
        (Settings(endpoint_instances=3), "$0.345 an hour"),
        (Settings(mode="serverless"), "a serverless endpoint costs nothing while it is idle"),
        (Settings(endpoint_instance="ml.huge"), "no price for instance 'ml.huge'"),
    ],
)
def test_up_says_what_the_stack_and_a_million_photos_cost(settings: Settings, words: str) -> None:
    """The endpoint as the settings want it."""
    sentence = up_price(settings)
    assert words in sentence
    assert price_table().as_of in sentence


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(endpoint_instance="ml.m5.xlarge"),
        Settings(endpoint_instance="ml.c5.large", endpoint_instances=3, kms="yes", monitor_minutes=5),
        Settings(endpoint_instances=2, endpoint_max_instances=6),
        Settings(mode="serverless", serverless_memory_mb=4096, endpoint_instance="ml.m5.2xlarge"),
    ],
    ids=lambda settings: f"{settings.mode}-{settings.endpoint_instances}-{settings.endpoint_instance}",
)
def test_up_cost_deploy_and_the_report_price_the_same_endpoint(settings: Settings) -> None:
    """A month of the endpoint that the settings name costs the same everywhere, and so does a million photos."""
    month = bill(endpoint_usage(settings, HOURS_PER_MONTH)).total_dollars  # what the demo's report shows
    sentence, asked = up_price(settings), workload(settings)
    priced = estimate(asked)
    stack = bill(idle_usage(template_resources(kms=settings.kms == "yes"), settings.monitor_minutes)).total_dollars
    assert priced.idle_month_dollars == pytest.approx(stack + month)
    assert f"(${stack:.2f} a month)" in sentence
    assert f"a million photos cost about ${priced.cost.total_dollars:,.0f}." in sentence
    rows = {row.way: row for row in cost_table(asked).rows}
    way = "serverless" if settings.mode == "serverless" else "real-time, while busy"
    assert rows[way].photos_dollars == pytest.approx(priced.cost.total_dollars)
    assert rows[way].idle_month_dollars == pytest.approx(priced.idle_month_dollars)
    if settings.mode == "realtime":
        assert f"(${month:,.0f} a month) until: scones down" in sentence
        assert f"(${month:,.0f} a month)" in price_of("deploy", settings)


def test_cost_prices_the_endpoint_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scones.toml and the environment count; an option wins over both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scones.toml").write_text('endpoint_instance = "ml.c5.xlarge"\nendpoint_instances = 2\n')

    def priced(*options: str) -> Any:
        return json.loads(CliRunner().invoke(scones, ["cost", *options, "--json"], catch_exceptions=False).output)

    row = next(row for row in priced()["rows"] if row["way"] == "real-time, while busy")
    asked = workload(Settings(endpoint_instance="ml.c5.xlarge", endpoint_instances=2))
    assert row["idle_month_dollars"] == pytest.approx(estimate(asked).idle_month_dollars)
    assert priced("--photos", "10")["workload"]["instance"] == "ml.c5.xlarge"
    assert priced("--instance", "ml.m5.large")["workload"]["instances"] == 2
    assert priced("--instances", "1", "--mode", "serverless")["workload"]["mode"] == "serverless"


def test_every_price_says_when_and_where_it_was_looked_up() -> None:
    """A price seen on AWS's own page is not marked; one that only others publish is, and names them."""
    table = json.loads(files("scones.deployment").joinpath("prices.json").read_text())
    for name, price in {**table["prices"], **table["instance_hours"]}.items():
        assert date.fromisoformat(price["as_of"]) >= date(2026, 11, 1), name
        assert price["source"].startswith("https://aws.amazon.com/"), name
        assert price["unverified"] or "agrees" not in price, name

"""What photos cost on paper, by each way to classify them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scones.config.settings import Settings
from scones.deployment.pricing import (
    HOURS_PER_MONTH,
    MODES,
    Asked,
    TooFewHours,
    UnknownPrice,
    bill,
    cost_table,
    estimate,
    kept_monthly_dollars,
    price_table,
    stack_hourly_dollars,
    standing_usage,
    up_price,
)

MILLION = 1_000_000
modes = st.sampled_from(MODES)
photos = st.integers(1, 10**8)
# The first example reads the template.
unhurried = hypothesis_settings(deadline=None)


def asked(count: int, mode: str, **more: object) -> Asked:
    """An estimate's question."""
    return replace(Asked(count), mode=mode, **more)  # type: ignore[arg-type]


@unhurried
@given(photos, modes)
def test_the_total_is_the_sum_of_its_lines_and_per_photo_its_share(count: int, mode: str) -> None:
    """Nothing is lost, and nothing is negative."""
    found = estimate(asked(count, mode))
    assert found.cost.total_dollars == pytest.approx(sum(item.dollars for item in found.cost.items))
    assert found.per_photo_dollars * count == pytest.approx(found.cost.total_dollars)
    assert all(item.dollars >= 0 for item in (*found.cost.items, *found.idle_month))
    assert found.idle_month_dollars == pytest.approx(sum(item.dollars for item in found.idle_month))


@unhurried
@given(photos, st.sampled_from(["realtime", "serverless"]))
def test_one_by_one_twice_the_photos_cost_twice_as_much(count: int, mode: str) -> None:
    """Nothing is bought in bulk."""
    once, twice = estimate(asked(count, mode)), estimate(asked(2 * count, mode))
    assert twice.cost.total_dollars == pytest.approx(2 * once.cost.total_dollars)


@unhurried
@given(photos, modes, st.booleans())
def test_more_photos_and_a_key_never_cost_less(count: int, mode: str, kms: bool) -> None:
    """In batches neither, where a last batch may be short."""
    less = estimate(asked(count, mode, kms=kms)).cost.total_dollars
    assert less < estimate(asked(2 * count, mode, kms=kms)).cost.total_dollars
    assert less <= estimate(asked(count, mode, kms=True)).cost.total_dollars


@unhurried
@given(st.floats(1, 1000), st.integers(1, 5))
def test_an_endpoint_that_stands_longer_costs_by_the_hour(hours: float, instances: int) -> None:
    """So many instances, so many hours, each at the type's price; the photos' own cost does not change."""
    short = estimate(asked(1, "realtime", hours=hours, instances=instances)).cost.total_dollars
    long = estimate(asked(1, "realtime", hours=2 * hours, instances=instances)).cost.total_dollars
    price = price_table().instance_hour(Asked().instance).dollars
    assert long - short == pytest.approx(hours * instances * price)


def test_photos_that_keep_it_busy_for_longer_are_refused() -> None:
    """A million photos on half the machine take more than an hour."""
    with pytest.raises(TooFewHours, match=r"busy for 1\.4 hours, more than 1;"):
        estimate(asked(MILLION, "realtime", instance="ml.m5.large", hours=1))


def test_an_instance_without_a_price_is_named() -> None:
    """As everywhere."""
    with pytest.raises(UnknownPrice, match=r"ml\.huge"):
        estimate(Asked(instance="ml.huge"))


def test_a_million_serverless_photos_cost_five_dollars_sixty_at_the_endpoint() -> None:
    """Two GB for a tenth of a second each, and 100 GB of photos; nothing for an idle endpoint."""
    row = next(row for row in cost_table().rows if row.way == "serverless")
    assert row.endpoint_dollars == pytest.approx(4.00 + 1.60)
    assert row.idle_month_dollars == pytest.approx(stack_hourly_dollars() * HOURS_PER_MONTH)


def test_the_endpoint_that_nobody_uses_is_the_dearest_thing_of_all() -> None:
    """The table's own warning: a month of one instance beside the photos."""
    rows = {row.way: row for row in cost_table().rows}
    assert rows["real-time, while busy"].idle_month_dollars > 10 * rows["serverless"].idle_month_dollars
    parts = [
        row.endpoint_dollars + row.orchestration_dollars + row.storage_dollars + row.other_dollars
        for row in rows.values()
    ]
    assert parts == pytest.approx([row.photos_dollars for row in rows.values()])


def test_a_stack_that_waits_costs_by_its_alarms_metrics_dashboards_and_looks() -> None:
    """Nothing stands, nothing is paid; the monitor that looks more often costs more."""
    assert bill(standing_usage({})).items == ()
    assert bill(standing_usage({"AWS::CloudWatch::Alarm": 10})).total_dollars == pytest.approx(1)
    assert stack_hourly_dollars(60) < stack_hourly_dollars(1)
    assert (stack_hourly_dollars(kms=True) - stack_hourly_dollars()) * HOURS_PER_MONTH == pytest.approx(1)


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
        (Settings(mode="serverless"), "adds nothing while nobody asks"),
        (Settings(endpoint_instance="ml.huge"), "no price for instance 'ml.huge'"),
    ],
)
def test_up_says_what_stands_and_what_a_million_photos_cost(settings: Settings, words: str) -> None:
    """The endpoint as the settings want it."""
    sentence = up_price(settings)
    assert words in sentence
    assert price_table().as_of in sentence

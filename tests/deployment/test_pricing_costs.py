"""A bill is plain multiplication by dated prices."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.config.settings import Settings
from scones.deployment.pricing import RunUsage, UnknownPrice, bill, hourly_dollars, price_of, price_table

MILLION = 1_000_000


def test_the_table_says_when_and_where() -> None:
    """Prices carry their day and region, and a source or a mark of doubt."""
    table = price_table()
    assert date.fromisoformat(table.as_of) >= date(2026, 11, 1)
    assert table.region == "us-east-1"
    assert all(price.dollars > 0 and price.per > 0 for price in table.prices.values())


def test_nothing_used_costs_nothing() -> None:
    """A run that did nothing has no line."""
    assert bill(RunUsage()).items == ()
    assert bill(RunUsage()).total_dollars == 0


def test_an_hour_of_training_costs_the_instance_s_price() -> None:
    """3,600 seconds of ml.m5.xlarge are one hour at 23 cents."""
    (line,) = bill(RunUsage(training_seconds=3600, training_instance="ml.m5.xlarge")).items
    assert (line.what, line.quantity, line.unit) == ("SageMaker training, ml.m5.xlarge", 1, "hours")
    assert line.dollars == pytest.approx(0.23)


def test_a_million_photos_through_a_standard_workflow_cost_125_dollars() -> None:
    """Five transitions a photo at 25 dollars a million."""
    assert bill(RunUsage(transitions=5 * MILLION)).total_dollars == pytest.approx(125)


def test_a_million_photos_through_an_express_workflow_cost_little() -> None:
    """Requests at one dollar a million, and time in the smallest memory step."""
    total = bill(RunUsage(executions=MILLION, execution_seconds=0.25 * MILLION)).total_dollars
    assert total == pytest.approx(1 + 300_000 * 64 / 1024 * 0.00001667)


def test_a_million_photos_are_put_and_got_for_5_dollars_40() -> None:
    """Writing costs twelve times what reading does."""
    assert bill(RunUsage(s3_puts=MILLION, s3_gets=MILLION)).total_dollars == pytest.approx(5.40)


def test_three_million_lambda_requests_cost_60_cents() -> None:
    """Before the time they take."""
    assert bill(RunUsage(lambda_requests=3 * MILLION)).total_dollars == pytest.approx(0.60)


def test_an_endpoint_left_running_is_named() -> None:
    """The bill warns of a month of the endpoint: 730 hours."""
    assert bill(RunUsage(endpoint_instance="ml.m5.xlarge")).endpoint_month_dollars == pytest.approx(167.9)


def test_an_unknown_instance_is_one_clear_line() -> None:
    """The error names the type and what to do."""
    with pytest.raises(UnknownPrice, match=r"ml\.huge.*prices\.json"):
        bill(RunUsage(training_instance="ml.huge"))


@pytest.mark.parametrize(("verb", "word"), [("deploy", "scones down"), ("train", "hour"), ("classify", "cents")])
def test_each_verb_has_a_sentence(verb: str, word: str) -> None:
    """Whoever is asked to go on knows what it costs."""
    assert word in price_of(verb, Settings())


def test_the_price_is_that_of_the_settings_own_instances() -> None:
    """Three larger instances cost what three cost; how far a fleet may grow is said; an unknown type is said, too."""
    fleet = Settings(endpoint_instance="ml.m5.xlarge", endpoint_instances=3, training_instance="ml.future.large")
    assert "3 ml.m5.xlarge costs $0.690 an hour ($504 a month)" in price_of("deploy", fleet)
    assert "up to $1.150 an hour" in price_of("deploy", replace(fleet, endpoint_max_instances=5))
    assert "ml.future.large costs what our price table does not know" in price_of("train", fleet)
    assert "nothing while nobody asks" in price_of("deploy", replace(fleet, mode="serverless"))


usages = st.builds(
    RunUsage,
    training_seconds=st.floats(0, 1e5),
    endpoint_seconds=st.floats(0, 1e5),
    executions=st.integers(0, MILLION),
    transitions=st.integers(0, MILLION),
    execution_seconds=st.floats(0, 1e5),
    lambda_requests=st.integers(0, MILLION),
    lambda_gigabyte_seconds=st.floats(0, 1e5),
    s3_puts=st.integers(0, MILLION),
    s3_gets=st.integers(0, MILLION),
    notices=st.integers(0, 1000),
    log_gigabytes=st.floats(0, 10),
    build_minutes=st.floats(0, 100),
)


@given(usages)
def test_the_total_is_the_sum_of_its_lines(usage: RunUsage) -> None:
    """No line is negative, and nothing is lost between lines and total."""
    result = bill(usage)
    assert all(item.dollars >= 0 for item in result.items)
    assert result.total_dollars == pytest.approx(sum(item.dollars for item in result.items))


def test_a_load_test_says_its_price_in_cents() -> None:
    """How many executions, and that the endpoint is kept busy; it is cheap, and the sentence says how cheap."""
    sentence = price_of("evaluate", Settings())
    assert "2,000 executions" in sentence
    assert "cents" in sentence


def test_what_stands_costs_by_the_hour_and_an_unknown_instance_stops_nobody() -> None:
    """Two small instances and a larger one; taking down goes on where there is no price."""
    assert hourly_dollars({"ml.m5.large": 2, "ml.m5.xlarge": 1}) == pytest.approx(0.46)
    assert hourly_dollars({}) == 0
    assert hourly_dollars({"ml.m5.large": 1, "ml.future.large": 1}) is None

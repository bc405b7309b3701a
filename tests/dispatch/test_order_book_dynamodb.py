"""Values on their way into a table and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.dispatch.order_book import ItemError, Write, deserialize, serialize, update_arguments

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(1e-128, 9e125)
    | st.floats(-9e125, -1e-128)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(min_size=1, max_size=9), VALUES, max_size=4))
def test_every_value_comes_back_exactly(item: dict[str, object]) -> None:
    """What is written to a table is read again bit for bit, a float's last digit included."""
    assert deserialize(serialize(item)) == item  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e127, 5e-324, 10**39 + 1, b"bytes", {1}, [{"b": b""}]])
def test_what_no_table_can_hold_is_refused(value: object) -> None:
    """It fails here, by name, and not as a half-understood reply of AWS's."""
    with pytest.raises(ItemError):
        serialize({"a": value})  # type: ignore[dict-item]


def test_a_type_that_is_never_written_is_refused() -> None:
    """Another program wrote to the table."""
    with pytest.raises(ItemError, match="type Binary"):
        deserialize({"a": {"L": [{"B": b"bytes"}]}})


def test_reserved_words_may_be_attributes() -> None:
    """DynamoDB refuses `status` in an expression: every attribute goes by a placeholder."""
    found = update_arguments(
        "t", Write({"order_id": "o"}, {"status": "assigned"}, "#status = :open", {":open": "open"})
    )
    assert found["UpdateExpression"] == "SET #status = :set_status"
    assert found["ExpressionAttributeNames"] == {"#status": "status"}
    assert found["ExpressionAttributeValues"] == {":set_status": {"S": "assigned"}, ":open": {"S": "open"}}

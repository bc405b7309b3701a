"""No state of the workflow can pass Step Functions' limit of 262,144 bytes, whatever the photo and whatever fails."""

import base64
import copy
import json
from typing import Any

import pytest

from infra.payload import NAME_BYTES, Bound, Leaf, Object, Unproven, prove, worst_seconds
from scones.deployment.template import state_machine
from scones.domain import decision

# A float's longest JSON is 25 bytes, a character's six (\\u0000); a list adds a comma and a space an item.
NUMBER, CHARACTER, COMMA = 25, 6, 2
NAME = decision.MAX_NAME_CHARACTERS * CHARACTER + 2
INLINE = decision.INLINE_TEXT_BYTES
ORDER = 1024 * CHARACTER + 2  # the longest sort key of an index
EXPRESS_SECONDS = 300

EVENT = Object({"image_data": Leaf(INLINE)}, beside=decision.EVENT_LIMIT_BYTES)
COURIER = Object({"id": Leaf(NAME), "x_km": Leaf(NUMBER), "y_km": Leaf(NUMBER), "capacity": Leaf(2)})


def serialized(given: Bound) -> Bound:
    """SerializeImage keeps what it is given, which it holds to the limits, and adds these."""
    del given
    added: dict[str, Bound] = {"photo_id": Leaf(66), "seen_at": Leaf(34), "inferences": Leaf(2), "courier": COURIER}
    added["execution"] = Leaf(NAME_BYTES)
    return Object({**EVENT.fields, **added}, EVENT.beside)


def classified(given: Bound) -> Bound:
    """ClassifyImage drops the photo and adds the answer."""
    assert isinstance(given, Object)
    answer = {
        "image_data": Leaf(2),
        "inferences": Leaf(2 + decision.MAX_CLASSES * (NUMBER + COMMA)),
        "model_version": Leaf(NAME),
        "unfamiliarity": Leaf(NUMBER),
        "unfamiliar": Leaf(5),
    }
    return Object({**given.fields, **answer}, given.beside)


def filtered(given: Bound) -> Bound:
    """FilterInferences adds the decision and what it was held against."""
    assert isinstance(given, Object)
    classes = Leaf(2 + decision.MAX_CLASSES * (NAME + COMMA))
    told = {"label": Leaf(NAME), "confidence": Leaf(NUMBER), "threshold": Leaf(NUMBER), "classes": classes}
    return Object({**given.fields, **told}, given.beside)


def dispatched(given: Bound) -> Bound:
    """Dispatch gives back a photo that was routed, with its orders, or of another one only what was done about it."""
    assert isinstance(given, Object)
    photo = given.fields["photo"]
    assert isinstance(photo, Object)
    done = {"dispatch": Leaf(12), "orders": Leaf(2 + decision.MAX_ORDERS * (ORDER + COMMA)), "review": Leaf(5)}
    if "answer" in given.fields:
        return Object(done)
    if "error" not in photo.fields:
        return Object({**photo.fields, **done}, photo.beside)
    short = ("rank", "first", "since", "reason", "seen_at", "sighted", "confidence", "expires")
    item = {**dict.fromkeys(short, Leaf(64)), **dict.fromkeys(("model_version", "predicted"), Leaf(NAME))}
    courier = Leaf(2 * COURIER.size + 100)  # with the types of DynamoDB
    return Object({**done, "item": Object({**item, "courier": courier, "uri": Leaf(decision.EVENT_LIMIT_BYTES)})})


def reviewed(given: Bound) -> Bound:
    """The item comes back whole: what was asked, with the answer of an earlier review."""
    answer = {"state": Object({"S": Leaf(10)}), "label": Object({"S": Leaf(NAME)})}
    return Object({**answer, "others": Leaf(given.size)})


FUNCTIONS = {
    "${ReviewsTable}": reviewed,
    "${SerializeFunction}": serialized,
    "${ClassifyFunction}": classified,
    "${FilterFunction}": filtered,
    "${DispatchFunction}": dispatched,
}


def machine() -> dict[str, Any]:
    """The workflow, to be changed at will."""
    return copy.deepcopy(state_machine("classify.asl.json"))


def too_large(sizes: dict[str, int]) -> list[str]:
    """Where the limit can be passed."""
    return [place for place, size in sizes.items() if size > decision.STATE_LIMIT_BYTES]


def test_no_state_can_pass_the_limit() -> None:
    """From the largest event that SerializeImage lets through, over every way, failures with the longest causes too."""
    sizes = prove(machine(), EVENT, FUNCTIONS)
    assert too_large(sizes) == []
    assert {place.split()[0] for place in sizes} == machine()["States"].keys()
    assert max(sizes.values()) > decision.STATE_LIMIT_BYTES / 2, "a proof that finds next to nothing counts nothing"


def test_a_photo_that_travels_whole_is_found_out() -> None:
    """A phone's photo in the state: every place that it passes is named, up to where it is dropped."""

    def careless(given: Bound) -> Bound:
        found = serialized(given)
        assert isinstance(found, Object)
        return Object({**found.fields, "image_data": Leaf(4_000_000 * 4 // 3)}, found.beside)

    found = too_large(prove(machine(), EVENT, {**FUNCTIONS, "${SerializeFunction}": careless}))
    assert {"SerializeImage output", "ClassifyImage input", "ClassifyImage task", "NotifyFailure input"} <= set(found)
    assert "FilterInferences input" not in found


def test_two_causes_in_one_state_are_found_out() -> None:
    """A failure while another is being recorded, kept beside it, could be too much; so it takes its place."""
    broken = machine()
    broken["States"]["RecordRefusal"]["Catch"][0]["ResultPath"] = "$.recording"
    assert "NotifyFailure input" in too_large(prove(broken, EVENT, FUNCTIONS))


def test_an_output_that_keeps_its_input_is_found_out() -> None:
    """ResultPath and OutputPath count: an answer beside the photo that it was made from, state after state."""
    broken = machine()
    large = Object(EVENT.fields, beside=200_000)
    broken["States"]["SerializeImage"] |= {"ResultPath": "$.serialized", "OutputPath": "$"}
    assert "SerializeImage output" in too_large(prove(broken, large, FUNCTIONS))


@pytest.mark.parametrize(
    ("state", "change", "words"),
    [
        ("SendToReview", {"Parameters": {"TableName": "${ReviewsTable}", "Key.$": "$.photo_id.x"}}, None),
        ("RecordUnsure", {"Parameters": {"FunctionName": "${Other}", "Payload.$": "$"}}, "there is no bound for what"),
        ("NotifyFailure", {"Parameters": {"Message.$": "$$.Execution.Colour"}}, "nothing is at"),
        ("Dispatch", {"Type": "Parallel"}, "have no bound yet"),
        ("Dispatch", {"ResultPath": "$.a.b"}, "deeper"),
    ],
)
def test_what_cannot_be_bounded_is_no_proof(state: str, change: dict[str, Any], words: str | None) -> None:
    """A path to nothing, an unknown function and an unknown state fail the proof; they do not count as small."""
    broken = machine()
    broken["States"][state] |= change
    if words is None:
        prove(broken, EVENT, FUNCTIONS)
        return
    with pytest.raises(Unproven, match=words):
        prove(broken, EVENT, FUNCTIONS)


def test_a_machine_that_may_run_for_ever_is_no_proof() -> None:
    """Of a loop, nothing is proved."""
    states = {
        "A": {"Type": "Pass", "Parameters": {"more.$": "$"}, "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Next": "A"}], "Default": "C"},
        "C": {"Type": "Succeed"},
    }
    with pytest.raises(Unproven, match="no end"):
        prove({"StartAt": "A", "States": states}, Leaf(1), {})


def test_a_bound_is_never_less_than_the_value() -> None:
    """The sizes that the proof adds up are those of real JSON, whatever its spaces."""
    value = {"image_data": base64.b64encode(bytes(99)).decode(), "more": {"a": 1.5, "b": [True, None]}}
    more = Object({"a": Leaf(3), "b": Leaf(len(json.dumps(value["more"]["b"])))})  # type: ignore[index]
    bound = Object({"image_data": Leaf(134), "more": more})
    assert len(json.dumps(value)) <= bound.size <= len(json.dumps(value)) + 8


def test_every_failure_is_told_before_the_execution_runs_out_of_time() -> None:
    """All tries of all tasks, each taking all its time, end before the machine's own limit, and Express's."""
    assert worst_seconds(machine()) < machine()["TimeoutSeconds"] < EXPRESS_SECONDS

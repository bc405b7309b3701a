from dataclasses import replace

from scones.flow import Flow
from scones.progress import Silent
from scones.steps.classify import Outcome
from tiny_model import plain_photo, probability


def test_a_changed_threshold_reaches_the_workflow(own_flow: Flow) -> None:
    """A photo that was routed is held back once more certainty is asked for; nothing else changes."""
    photo = own_flow.upload("a.png", plain_photo(160))
    assert 0.8 < probability(160) < 0.95
    assert own_flow.classify_samples([photo]).count(Outcome.SUCCEEDED) == 1
    stricter = Flow(own_flow.aws, replace(own_flow.settings, threshold=0.95), Silent())
    assert stricter.up().threshold == 0.95
    assert stricter.classify_samples([photo]).count(Outcome.BELOW_THRESHOLD) == 1


def test_a_second_time_changes_nothing(own_flow: Flow) -> None:
    """What stands already is left as it is."""
    assert own_flow.up() == own_flow.up()

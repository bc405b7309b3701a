import pytest

from scones.aws.client import WaitTimeout, poll, wait


def test_waiting_ends_with_the_first_thing_found() -> None:
    """It looks again until there is something."""
    looks = iter([None, None, "there"])
    assert wait("it coming", lambda: next(looks), 5) == "there"


def test_waiting_too_long_says_for_what() -> None:
    """The message names the thing, the limit and where to look."""
    with pytest.raises(WaitTimeout, match=r"timed out after 0 s: it coming; see: scones status"):
        wait("it coming", lambda: None, 0.2)


def test_there_is_always_one_look() -> None:
    """What is so already is found however short the patience."""
    assert len(list(zip(poll("anything", 1), range(1), strict=False))) == 1

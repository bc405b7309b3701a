import pytest

from scones.cli.session import Terminal


def test_without_a_terminal_long_work_still_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A log or a notebook shows no bars: a line now and then, one at the end, and nothing on stdout."""
    with Terminal(line_seconds=0) as patient, Terminal() as quick:
        for done in (1, 2):
            patient.progress(done, 2, "photos classified", "a.png")
            quick.progress(done, 2, "events ended")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  photos classified: 1 of 2, a.png",
        "  photos classified: 2",
        "  events ended: 2",
    ]

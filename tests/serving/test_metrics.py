"""GET /metrics shows every worker's counters."""

import os

from scones.serving.metrics import render, share_counters


def test_another_processes_counts_are_seen() -> None:
    """They lie in shared memory: what a forked worker counts, any process can show."""
    counters = share_counters(2)
    pid = os.fork()
    if pid == 0:
        counters[1].add("photos", 7)
        counters[1].count_response(413)
        os._exit(0)
    os.waitpid(pid, 0)
    text = render(counters).decode()
    assert 'scones_photos_total{worker="0"} 0\n' in text
    assert 'scones_photos_total{worker="1"} 7\n' in text
    assert 'scones_answers_total{worker="1",status="413"} 1\n' in text


def test_the_text_is_prometheus() -> None:
    """Each family has its help and its type before its samples, and every sample is a number."""
    for line in render(share_counters(1)).decode().splitlines():
        if line.startswith("#"):
            assert line.split()[1] in ("HELP", "TYPE")
        else:
            name, value = line.rsplit(" ", 1)
            assert name.startswith("scones_")
            float(value)


def test_large_counts_stay_whole_numbers() -> None:
    """A hundred million answers later the count is still exact."""
    counters = share_counters(1)
    counters[0].add("photos", 123_456_789_012)
    assert b'scones_photos_total{worker="0"} 123456789012\n' in render(counters)

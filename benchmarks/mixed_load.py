"""Serve good clients among bad ones for minutes: every good answer must come and be right, no worker may die.

Usage: python -m benchmarks.mixed_load [--seconds 300] [--model DIR] [--photos SOURCE]

The bad clients send garbage, truncated and huge bodies, a PNG bomb, broken HTTP, slow heads and half requests, and
leave when they like. Prints one JSON object; returns 1 if a good request failed, a worker died or memory grew by 5 %.
"""

import argparse
import json
import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.load import Outcome, Question, ask, wait_for_ping
from benchmarks.servers import KINDS, Kind, Place, Tree, running
from benchmarks.serving import BUILD, environment_for, prepare

OURS: Kind = KINDS[0]
REQUESTS = 500


def main() -> int:
    """Run the mix and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--photos", default="sample")
    options = parser.parse_args()
    bench = prepare(options.model, options.photos, [OURS], requests=REQUESTS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    place = Place(bench.programs, environment_for(bench, port), BUILD / "mixed.log")
    with running(OURS, place, port, bench.workers) as tree:
        wait_for_ping(port, OURS.ping, seconds=60)
        report = _mix(tree, port, bench.questions[OURS.name], options.seconds)
    print(json.dumps(report))
    failed = any(report[name] for name in ("wrong", "refused", "broken", "deaths"))
    return int(failed or report["memory_growth"] >= 0.05)


def _mix(tree: Tree, port: int, questions: Sequence[Question], seconds: float) -> dict[str, float]:
    stop = threading.Event()
    seen: Counter[str] = Counter()
    threads = [threading.Thread(target=_misbehave, args=(port, stop, seen, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    total = Outcome()
    end = time.monotonic() + seconds
    # What the first tenth of the time allocates is warm-up, not growth.
    settled = time.monotonic() + seconds / 10
    first, workers = 0.0, tree.pids()
    while time.monotonic() < end:
        outcome = ask(port, questions, connections=16, requests=REQUESTS)
        total.good += outcome.good
        total.wrong += outcome.wrong
        total.refused += outcome.refused
        total.broken += outcome.broken
        if not first and time.monotonic() > settled:
            first = tree.pss_mb()
    stop.set()
    for thread in threads:
        thread.join()
    last = tree.pss_mb()
    return {
        **{name: getattr(total, name) for name in ("good", "wrong", "refused", "broken")},
        "deaths": len(workers - tree.pids()),
        "pss_mb_first": round(first, 1),
        "pss_mb_last": round(last, 1),
        "memory_growth": round(last / first - 1, 3),
        **{f"bad_{name}": count for name, count in sorted(seen.items())},
    }


def _misbehave(port: int, stop: threading.Event, seen: Counter[str], seed: int) -> None:
    dice = random.Random(seed)
    wires = bad_requests(dice)
    while not stop.is_set():
        name = dice.choice(sorted(wires))
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(wires[name])
            if dice.random() < 0.7:
                seen[f"{name}_{client.recv(12)[9:12].decode('latin-1') or 'silence'}"] += 1
        stop.wait(0.01)


def bad_requests(dice: random.Random) -> dict[str, bytes]:
    """One of each kind of bad request, whole as it goes over the wire."""
    side = 13_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b""))
    )
    return {
        "garbage": OURS.request(dice.randbytes(3000)),
        "truncated": OURS.request(bomb[:30]),
        "empty": OURS.request(b""),
        "bomb": OURS.request(bomb),
        "huge": b"POST /invocations HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n" + bytes(200_000),
        "no_http": dice.randbytes(500),
        "half": OURS.request(dice.randbytes(3000))[:1500],
        "slow": b"POST /invocations HTTP/1.1\r\nX-Slow: ",
        "pipelined": OURS.request(b"no photo") * 50,
        "json": b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        + b"[" * 5000,
    }


if __name__ == "__main__":
    sys.exit(main())

"""A small coverage-guided fuzzer: inputs that reach new lines are kept and changed further."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

Edge = tuple[int, int, int]


@dataclass(frozen=True)
class Campaign:
    """What a run did: how many inputs it tried, and how many of them reached something new."""

    tried: int
    kept: int


def fuzz(
    target: Callable[[bytes], None], seeds: Sequence[bytes], *, module: str, seconds: float, seed: int = 0
) -> Campaign:
    """Call *target* with ever new inputs; what it raises ends the run, with the input that did it as a note.

    Coverage is of the pairs of lines run one after the other in files whose path contains *module*.
    """
    dice = random.Random(seed)
    corpus = list(seeds)
    seen: set[Edge] = set()
    for start in seeds:
        seen |= _edges(target, start, module)
    tried = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tried += 1
        data = _change(dice.choice(corpus), dice, corpus)
        found = _edges(target, data, module)
        if not found <= seen:
            seen |= found
            corpus.append(data)
    return Campaign(tried, len(corpus) - len(seeds))


def _edges(target: Callable[[bytes], None], data: bytes, module: str) -> set[Edge]:
    found: set[Edge] = set()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "call" and module not in frame.f_code.co_filename:
            return None
        key = id(frame)
        if event == "line":
            found.add((hash(frame.f_code), last.get(key, 0), frame.f_lineno))
        last[key] = frame.f_lineno
        return trace

    last: dict[int, int] = {}
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target(data)
    except Exception as error:
        error.add_note(f"input: {data!r}")
        raise
    finally:
        sys.settrace(before)
    return found


def _change(data: bytes, dice: random.Random, corpus: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(6):
            case 0:
                changed[at : at + 1] = dice.randbytes(1)
            case 1:
                changed[at : at + dice.randrange(20)] = b""
            case 2:
                changed[at:at] = dice.randbytes(dice.randrange(1, 5))
            case 3:
                other = dice.choice(corpus)
                start = dice.randrange(len(other) + 1)
                changed[at:at] = other[start : start + dice.randrange(40)]
            case 4:
                changed[at : at + 4] = dice.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\r\n", b"99999999")
                )
            case _:
                del changed[at:]
    return bytes(changed)

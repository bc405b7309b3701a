"""Model files that are meant to harm: each is refused in one line, in bounded time and memory."""

import gzip
import io
import itertools
import json
import math
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model.test_model_file import packed, sum_up
from scones.model.inference import Model, ModelUnusable
from scones.model.model_file import MODEL, InvalidModelFile, read_model_file, unpack
from tiny_model import SIDE, write_tiny_model_file

NAN, INFINITY = math.nan, math.inf
GUARD: list[Any] = [NAN, INFINITY, -INFINITY, "1", [], True]
BAD: list[tuple[str, Any]] = [
    *(("image_size", value) for value in (0, -1, 1_000_000_000, 1e9, 32.5, "32", True, None, [32], 2**70)),
    *(("temperature", value) for value in (NAN, INFINITY, -INFINITY, 0, -1, "1", None, True)),
    *(("unfamiliar_above", value) for value in GUARD),
    *(("seed", value) for value in (-1, 2**70, 0.5, "0", None)),
    ("classes", "ab"),
    ("classes", []),
    ("classes", ["bicycle"]),
    ("classes", ["bicycle", "bicycle"]),
    ("classes", ["bicycle", ""]),
    ("classes", ["bicycle", " "]),
    ("classes", ["bicycle", " x"]),
    ("classes", ["bicycle", "a\x1b[2J"]),
    ("classes", ["bicycle", "a\nb"]),
    ("classes", ["bicycle", "\u202ea"]),
    ("classes", ["bicycle", "\ud800"]),
    ("classes", ["bicycle", "x" * 1000]),
    ("classes", ["bicycle", 5]),
    ("classes", {"bicycle": 1, "motorcycle": 2}),
    ("classes", [str(number) for number in range(100_000)]),
    ("metrics", {"a": "x"}),
    ("metrics", [["a", 1]]),
    ("metrics", {str(number): 0 for number in range(5000)}),
    ("data_version", 7),
    ("data_version", "x" * 10_000),
    ("created", None),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model file."""
    write_tiny_model_file(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={str(value)[:20]!r}" for name, value in BAD])
def test_a_value_out_of_its_range_is_refused(folder: Path, name: str, value: object) -> None:
    """Numbers, names and texts of model.json, with sound checksums."""
    about = json.loads((folder / "model.json").read_text()) | {name: value}
    (folder / "model.json").write_text(json.dumps(about))
    sum_up(folder)
    with pytest.raises(InvalidModelFile, match=r"model\.json is not valid") as told:
        read_model_file(folder)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format": ' + "[" * 5000 + "]" * 5000 + "}",
        "{}" + " " * (2 << 20),
        '{"seed": ' + "9" * 100_000 + "}",
        "",
        "[]",
        "null",
        "\ufeff{}",
        '{"format": "scones-model-1"',
    ],
    ids=lambda text: text[:12],
)
def test_a_description_of_another_form_is_refused(folder: Path, text: str) -> None:
    """Nested too deeply, too long, or no object."""
    (folder / "model.json").write_text(text)
    sum_up(folder)
    with pytest.raises(InvalidModelFile, match=r"model\.json") as told:
        read_model_file(folder)
    assert str(told.value).isprintable()


def in_small_memory(code: str, *arguments: str) -> str:
    """Run a program that may not take more than a gigabyte and 60 seconds of CPU; its output."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


UNPACK = """
import sys, tempfile
from pathlib import Path
from scones.model.model_file import InvalidModelFile, unpack
try:
    unpack(Path(sys.argv[1]), Path(tempfile.mkdtemp()))
except InvalidModelFile as error:
    print(error)
"""


def sparse() -> bytes:
    """A member of 1.9 GB that holds nothing, in GNU's format of sparse files."""
    header = tarfile.TarInfo("model.onnx")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\x00" % 1_900_000_000
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return gzip.compress(bytes(block) + bytes(1024))


def with_size(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A member that says that it has this size, and zeros for it up to 100 MB."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    return gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(min(size, 100_000_000)), 1)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "sparse member": sparse,
    "member of 1.9 GB": lambda: with_size("model.onnx", 1_900_000_000),
    "member of 8 GB": lambda: with_size("model.onnx", 8_000_000_000),
    "pax header of 100 MB": lambda: with_size("x", 100_000_000, tarfile.XHDTYPE),
    "long name of 100 MB": lambda: with_size("x", 100_000_000, tarfile.GNUTYPE_LONGNAME),
    "many members": lambda: packed(*((tarfile.TarInfo(f"{number}"), b"") for number in range(5000))),
    "zeros": lambda: gzip.compress(bytes(1000)),
    "no tar": lambda: gzip.compress(b"x" * 100_000),
    "damaged stream": lambda: packed((tarfile.TarInfo("a"), bytes(range(256)) * 100))[:-300] + b"\xff" * 300,
    "name with a null": lambda: packed((tarfile.TarInfo("a\x1b[2J/../b"), b"")),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_is_refused_or_empty_in_little_memory(tmp_path: Path, name: str) -> None:
    """Whatever a header says: nothing is allocated for it before it is checked."""
    (tmp_path / "model.tar.gz").write_bytes(ARCHIVES[name]())
    told = in_small_memory(UNPACK, str(tmp_path / "model.tar.gz"))
    assert told.rstrip("\n").isprintable()
    assert ("cannot be used" in told) == (name != "zeros")


def graph(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None, **changes: Any
) -> onnx.ModelProto:
    """A model of these operators, with the inputs and outputs that a model has."""
    photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)
    values = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    whole = helper.make_graph(nodes, "hostile", changes.get("inputs", [photos]), changes.get("outputs", [out]), values)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)]
    return helper.make_model(whole, opset_imports=imports, ir_version=9)


def constant(*values: float) -> np.ndarray:
    """Whole numbers, as a shape is."""
    return np.array(values, np.int64)


def endless_loop() -> onnx.ModelProto:
    """A Loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
    )
    return graph([helper.make_node("Loop", ["", "yes"], [], body=body)], {"yes": np.array(True)})


def external() -> onnx.ModelProto:
    """A constant that is in /etc/passwd."""
    found = graph([helper.make_node("Identity", ["w"], ["probabilities"])], {"w": np.zeros((1, 2), np.float32)})
    found.graph.initializer[0].ClearField("raw_data")
    found.graph.initializer[0].data_location = TensorProto.EXTERNAL
    found.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return found


def doubling() -> onnx.ModelProto:
    """A constant that doubles forty times."""
    names = ["x", *(f"x{number}" for number in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    last = [helper.make_node("ReduceSum", [names[-1]], ["probabilities"])]
    return graph([*nodes, *last], {"x": np.zeros(1000, np.float32)})


def huge_claim() -> onnx.ModelProto:
    """A constant that says that it has a billion numbers."""
    found = graph([helper.make_node("Identity", ["w"], ["probabilities"])], {"w": np.zeros(2, np.float32)})
    found.graph.initializer[0].dims[:] = [1_000_000, 1_000]
    return found


def node(kind: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator that gives the probabilities."""
    return helper.make_node(kind, list(inputs), ["probabilities"], **attributes)


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "endless loop": (endless_loop, "Loop may run without end"),
    "If": (lambda: graph([node("If", "photos")]), "If may run"),
    "another graph": (lambda: graph([node("Odd", "photos", body=endless_loop().graph)]), "another graph"),
    "external data": (external, "data in another file"),
    "custom operator": (lambda: graph([node("Run", "photos", domain="evil")]), "is of evil, which needs"),
    "unknown operator": (lambda: graph([node("NoSuchOperator", "photos")]), "ONNX Runtime cannot use it"),
    "huge claim": (huge_claim, "a constant has more than"),
    "huge shape": (lambda: graph([node("ConstantOfShape", "s")], {"s": constant(10**6, 10**6)}), "cannot use it"),
    "negative shape": (lambda: graph([node("ConstantOfShape", "s")], {"s": constant(-5)}), "cannot use it"),
    "endless range": (
        lambda: graph([node("Range", "a", "b", "c")], {"a": np.array(0), "b": np.array(2**40), "c": np.array(1)}),
        "cannot use it",
    ),
    "tile": (
        lambda: graph([node("Tile", "x", "s")], {"x": np.zeros((9,), np.float32), "s": constant(2**40)}),
        "cannot",
    ),
    "doubling": (doubling, "cannot use it"),
    "too many operators": (lambda: graph([node("Identity", "photos")] * 20_001), "more than 20,000 operators"),
    "another input": (
        lambda: graph(
            [node("Cast", "x", to=1)], inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])]
        ),
        "its only input must be",
    ),
    "another output": (
        lambda: graph(
            [helper.make_node("Cast", ["photos"], ["y"], to=1)],
            outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        ),
        "cannot use it",
    ),
    "another shape": (lambda: graph([node("Cast", "photos", to=1)]), "numbers for 2 classes"),
    "NaN": (lambda: graph([node("Identity", "x")], {"x": np.full((1, 2), np.nan, np.float32)}), "add up to nan"),
    "negative": (lambda: graph([node("Identity", "x")], {"x": np.array([[2, -1]], np.float32)}), "add up to 1"),
    "whole numbers": (lambda: graph([node("Identity", "x")], {"x": np.array([[1, 0]], np.int64)}), "cannot use it"),
    "text": (lambda: graph([node("Identity", "x")], {"x": np.array([["a", "b"]], object)}), "cannot use it"),
}

SERVE = """
import sys
from pathlib import Path
from scones.model.inference import Model, ModelUnusable
from scones.model.model_file import read_model_file
try:
    Model(read_model_file(Path(sys.argv[1])))
except ModelUnusable as error:
    print(error)
"""


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_graph_is_refused_in_bounded_time_and_memory(folder: Path, name: str) -> None:
    """In a process of its own, with a gigabyte: one line says why."""
    make, reason = MODELS[name]
    (folder / MODEL).write_bytes(make().SerializeToString())
    sum_up(folder)
    told = in_small_memory(SERVE, str(folder))
    assert reason in told
    assert told.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"no model", b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f", bytes(range(256)) * 40]
)
def test_what_is_no_graph_is_refused(folder: Path, body: bytes) -> None:
    """And so is one that is cut short."""
    whole = (folder / MODEL).read_bytes()
    for content in (body, whole[: len(whole) // 2], whole[:-1]):
        (folder / MODEL).write_bytes(content)
        sum_up(folder)
        with pytest.raises(ModelUnusable):
            Model(read_model_file(folder))


def test_a_device_in_the_folder_is_not_read(folder: Path) -> None:
    """A link to a device without end."""
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to("/dev/zero")
    with pytest.raises(InvalidModelFile, match=r"model\.onnx is missing or unreadable"):
        read_model_file(folder)


def test_a_slow_graph_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime stops between two operators when the time is up."""
    monkeypatch.setattr("scones.model.inference._MAX_TRIAL_SECONDS", 0.2)
    names = ["x", *(f"x{number}" for number in range(400))]
    steps = [helper.make_node("MatMul", [a, "x"], [b]) for a, b in itertools.pairwise(names)]
    last = helper.make_node("ReduceSum", [names[-1]], ["probabilities"])
    (folder / MODEL).write_bytes(graph([*steps, last], {"x": np.zeros((1500, 1500), np.float32)}).SerializeToString())
    sum_up(folder)
    with pytest.raises(ModelUnusable, match=r"needs more than 0 s for one photo"):
        Model(read_model_file(folder))


def test_unpacking_keeps_what_is_sound(folder: Path, tmp_path: Path) -> None:
    """Files of some megabytes come back whole."""
    body = bytes(range(256)) * 20_000
    unpack(packed((tarfile.TarInfo("a/b.bin"), body)), tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b.bin").read_bytes() == body
    assert io.BytesIO(body).getbuffer().nbytes == 5_120_000
    assert Model(read_model_file(folder)).size == SIDE

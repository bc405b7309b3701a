"""Foreign model: an ONNX classifier made elsewhere, read without trust and tried out within limits."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, compose, helper, version_converter
from scipy.optimize import linear_sum_assignment

from scones.domain.text import printable
from scones.model.graph import ForbiddenGraph, check_graph
from scones.model.model_file import MAX_IMAGE_SIZE
from scones.training.backbone import OPSET, Graph
from scones.training.calibration import fit_temperature, log_losses, soften
from scones.training.features import Photos
from scones.training.preprocessing import MIN_SIZE, SCALES, WORDS, Layout, Preprocessing
from scones.training.registration import MAX_MODEL_BYTES, CannotRegister

MAX_PHOTO_SECONDS: Final = 1.0
"""One photo may take this long on one thread; a client of the endpoint waits for it."""
MIN_OPSET: Final = 13
"""Models of older operator sets are converted: what is joined to them has the same form from here on."""
DEFAULT_SIZE: Final = 224
"""The side of photos for a model that takes any."""
_BATCH: Final = 8
_PART: Final = "foreign_"
_MAX_REASON: Final = 400

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """A foreign graph that may run, and what it takes: photos [N, height, width, 3] in its *layout*.

    All names in *model* begin with a prefix of ours. *output* is the one that has been chosen, or empty.
    """

    model: onnx.ModelProto
    input: str
    kind: int
    """The input's element type, of onnx.TensorProto."""
    height: int
    width: int
    preprocessing: Preprocessing
    output: str = ""

    @property
    def side(self) -> int:
        """The side of the square photos that it is given."""
        return max(self.height, self.width)


_KINDS: Final = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.UINT8: "uint8",
}
_EXPORT_FLOAT: Final = "export it with one float32 input [N, 3, H, W] or [N, H, W, 3]"


def read_foreign(data: bytes, preprocessing: Preprocessing, output: str = "") -> ForeignGraph:
    """Read an ONNX file, whatever it holds, and find out what its input is; nothing runs.

    Raises:
        CannotRegister: it is no graph that may run, or takes something else than photos.
    """
    if len(data) > MAX_MODEL_BYTES:
        raise CannotRegister(f"it has more than {MAX_MODEL_BYTES:,} bytes", "quantize it, or take a smaller network")
    try:
        check_graph(data)
    except ForbiddenGraph as error:
        raise CannotRegister(str(error), _advice(str(error))) from error
    try:
        model = onnx.load_from_string(data)
    except Exception as error:
        raise CannotRegister(
            f"it is no ONNX model ({short_reason(error)})", "name a file that an exporter wrote"
        ) from error
    model = _own(model)
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(printable(each.name)[:40] for each in inputs[:5]) or "none"
        raise CannotRegister(f"it has {len(inputs)} inputs ({names}) in place of one for photos", _EXPORT_FLOAT)
    kind, (layout, height, width) = _kind_of(inputs[0]), _shape_of(inputs[0], preprocessing)
    outputs = [each.name for each in model.graph.output]
    if output and output not in outputs:
        there = ", ".join(map(printable, outputs))[:_MAX_REASON]
        raise CannotRegister(f"it has no output {output[:50]!r}", f"its outputs are: {there}")
    preprocessing = replace(preprocessing, layout=layout, size=max(height, width))
    if kind == TensorProto.UINT8 and preprocessing.scale is None:
        preprocessing = replace(preprocessing, scale="0..255")
    source = inputs[0].name
    model = _any_count(compose.add_prefix(model, _PART))
    chosen = _PART + output if output else ""
    return ForeignGraph(model, _PART + source, kind, height, width, preprocessing, chosen)


def _advice(reason: str) -> str:
    if "another file" in reason:
        return "write it into one: onnx.save_model(onnx.load('model.onnx'), 'whole.onnx')"
    if "defines functions" in reason:
        return "onnx.inliner.inline_local_functions does that"
    if "without end" in reason or "another graph" in reason:
        return "export it for inference, with fixed height and width, so that it needs no branches or loops"
    if "library of its own" in reason:
        return "export it with ONNX's own operators"
    return "name a file of ONNX that an exporter wrote"


def _own(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep only graph and operator sets, the latter as new as joining needs."""
    versions = {each.domain: each.version for each in model.opset_import}
    version = versions.pop("", versions.pop("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= version <= newest:
        reason = f"it has operator set {version}, and those up to {newest} are known"
        raise CannotRegister(reason, f"export it with opset_version={OPSET}")
    imports = [helper.make_opsetid("", version), *(helper.make_opsetid(*each) for each in versions.items())]
    try:
        kept = helper.make_model(model.graph, opset_imports=imports)
        kept.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
        return kept if version >= MIN_OPSET else converted(kept)
    except CannotRegister:
        raise
    except Exception as error:
        raise CannotRegister(
            f"its graph is not valid ({short_reason(error)})", f"export it with opset {OPSET}"
        ) from error


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a model of an older operator set to the one of Scones' own graphs; raises CannotRegister."""
    try:
        found: onnx.ModelProto = version_converter.convert_version(model, OPSET)
    except Exception as error:
        reason = f"its old operator set cannot be converted to {OPSET} ({short_reason(error)})"
        raise CannotRegister(reason, f"export it with opset_version={OPSET}") from error
    return found


def _kind_of(value: onnx.ValueInfoProto) -> int:
    kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else -1
    if kind not in _KINDS:
        known = {number: name.lower() for name, number in TensorProto.DataType.items()}
        name = known.get(kind, "values that are no tensor") if kind >= 0 else "values that are no tensor"
        raise CannotRegister(f"its input takes {name}, not the numbers of a photo", _EXPORT_FLOAT)
    return int(kind)


def _shape_of(value: onnx.ValueInfoProto, wanted: Preprocessing) -> tuple[Layout, int, int]:
    """Find the layout and the size; of a graph that takes any, those that are *wanted*, or the usual ones."""
    shape = value.type.tensor_type.shape
    sides = [each.dim_value if each.HasField("dim_value") else 0 for each in shape.dim]
    if len(sides) != 4 or any(each < 0 for each in sides):
        text = "x".join(str(each or "?") for each in sides) or "unknown"
        raise CannotRegister(f"its input has the shape {text}, not the four sides of a batch of photos", _EXPORT_FLOAT)
    _, first, _, last = sides
    layout: Layout = wanted.layout or ("nhwc" if last == 3 and first != 3 else "nchw")
    channels, height, width = (first, *sides[2:]) if layout == "nchw" else (last, *sides[1:3])
    if channels not in {0, 3}:
        reason = f"its input takes {channels} channels as {layout}, and photos have 3 (red, green, blue)"
        raise CannotRegister(reason, "export it for photos in color, or name the layout with --preprocess")
    usual = wanted.size or height or width or DEFAULT_SIZE
    height, width = height or usual, width or usual
    if not MIN_SIZE <= min(height, width) <= max(height, width) <= MAX_IMAGE_SIZE:
        reason = f"its input takes photos of {height} x {width} pixels"
        raise CannotRegister(reason, f"sides from {MIN_SIZE} to {MAX_IMAGE_SIZE} can be served")
    if wanted.size and wanted.size != max(height, width):
        reason = f"its input takes photos of {height} x {width} pixels, not of size={wanted.size}"
        raise CannotRegister(reason, "leave out size in --preprocess")
    return layout, height, width


def _any_count(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let it take any number of photos; whether it can, is tried out."""
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions:
            dimensions[0].dim_param = "N"
    del model.graph.value_info[:]
    return model


def short_reason(error: Exception) -> str:
    """Say why in one line, whatever a hostile file has put into the message."""
    return printable(" ".join(str(error).split()))[:_MAX_REASON] or type(error).__name__


@dataclass(frozen=True, slots=True)
class Answering:
    """The output that has the classes' numbers, and what they are.

    A *probability* model gives numbers that add up to 1, or one number between 0 and 1 for the second of two classes;
    a *sigmoid* one gives a number between 0 and 1 for each class by itself; others give logits.
    """

    output: str
    numbers: int
    form: Literal["probability", "sigmoid", "logits"]
    photo_seconds: float


def try_out(foreign: ForeignGraph, photos: Photos, classes: int) -> tuple[ForeignGraph, Answering]:
    """Run the model for the first time, on one photo and for a limited time, and on several; find its answers.

    Raises:
        CannotRegister: it fails, takes too long, or answers with something else than a number for each class.
    """
    session = open_limited(with_input(foreign, foreign.preprocessing.candidates()[0]), optimized=False)
    started = time.monotonic()
    first = dict(zip(_names(foreign), run_limited(session, photos[:1]), strict=True))
    seconds = time.monotonic() - started
    several = min(3, len(photos))
    try:
        found = dict(zip(_names(foreign), run_limited(session, photos[:several]), strict=True))
        counted = all(_rows(values) == several for name, values in found.items() if _rows(first[name]) == 1)
    except CannotRegister:
        counted = False
    if not counted:
        raise CannotRegister(
            f"it answers for one photo, but not for {several} at once",
            "export it with a free batch size: torch.onnx.export(..., dynamic_axes={'input': {0: 'batch'}})",
        )
    output = _choose_output(first, classes)
    numbers = int(np.prod(first[output].shape[1:]))
    return replace(foreign, output=output), Answering(output, numbers, "logits", seconds)


def _rows(values: object) -> int:
    """How many photos an output answers for; 0 for an output that is no tensor, or a single number."""
    return values.shape[0] if isinstance(values, np.ndarray) and values.ndim else 0


def _choose_output(found: Mapping[str, npt.NDArray[Any]], classes: int) -> str:
    fitting = [
        name
        for name, values in found.items()
        if _rows(values) == 1
        and np.issubdtype(values.dtype, np.floating)
        and (int(np.prod(values.shape[1:])) == classes or (classes == 2 and np.prod(values.shape[1:]) == 1))
    ]
    if len(fitting) == 1:
        return fitting[0]
    shapes = "; ".join(
        f"{printable(name.removeprefix(_PART))[:40]} {list(getattr(values, 'shape', ()))}"
        for name, values in list(found.items())[:8]
    )
    if not fitting:
        raise CannotRegister(
            f"it gives {shapes} for one photo, and the photos have {classes} classes",
            "name the class of each of its outputs with --classes, and give a folder of photos of each",
        )
    raise CannotRegister(f"{len(fitting)} of its outputs could be the answer: {shapes}", "name one with --output")


def _names(foreign: ForeignGraph) -> list[str]:
    return [foreign.output] if foreign.output else [each.name for each in foreign.model.graph.output]


def open_limited(model: onnx.ModelProto, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    """Open the model for one thread; what is not *optimized* computes nothing before it runs; raises CannotRegister."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        # ONNX Runtime computes what is constant before anything can stop it.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = f"ONNX Runtime {onnxruntime.__version__} cannot load it ({short_reason(error)})"
        raise CannotRegister(reason, f"export it in float32 with opset_version={OPSET}") from error


def run_limited(session: onnxruntime.InferenceSession, photos: Photos) -> list[npt.NDArray[Any]]:
    """Run it for `MAX_PHOTO_SECONDS` a photo at most; raises CannotRegister."""
    running = onnxruntime.RunOptions()
    limit = MAX_PHOTO_SECONDS * len(photos)
    timer = threading.Timer(limit, lambda: setattr(running, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return cast("list[npt.NDArray[Any]]", session.run(None, {"photos": photos}, running))
    except Exception as error:
        if running.terminate:
            reason = f"it needs more than {MAX_PHOTO_SECONDS:g} s for one photo"
            raise CannotRegister(reason, "take a smaller network, or quantize it") from error
        raise CannotRegister(
            f"it fails on a photo ({short_reason(error)})", "run it in ONNX Runtime yourself, and export it in float32"
        ) from error
    finally:
        timer.cancel()


def with_input(foreign: ForeignGraph, way: Preprocessing) -> onnx.ModelProto:
    """Put the preprocessing before the model, which then takes `photos`, uint8 [N, side, side, 3]."""
    graph = Graph("input_")
    _add_input(graph, foreign, way)
    model = onnx.ModelProto()
    model.CopyFrom(foreign.model)
    nodes = [*graph.nodes, *model.graph.node]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(graph.constants)
    side = foreign.side
    model.graph.input.append(helper.make_tensor_value_info("photos", TensorProto.UINT8, ["N", side, side, 3]))
    if foreign.output:
        kept = [each for each in model.graph.output if each.name == foreign.output]
        del model.graph.output[:]
        model.graph.output.extend(kept)
    return model


def _add_input(graph: Graph, foreign: ForeignGraph, way: Preprocessing) -> None:
    scale = SCALES[way.scale] if isinstance(way.scale, str) else way.scale
    if scale is None or way.layout is None:
        raise CannotRegister("its preprocessing is not complete", f"the words are {WORDS}")
    x = graph.add("Cast", "photos", to=TensorProto.FLOAT)
    if way.order == "bgr":
        x = graph.add("Gather", x, graph.constant(np.array([2, 1, 0])), axis=3)
    mean, deviation = (np.array(values, np.float32) for values in scale[:2])
    if mean.any() or (deviation != 1).any():
        x = graph.add("Div", graph.add("Sub", x, graph.constant(mean)), graph.constant(deviation))
    if foreign.height != foreign.width:
        x = add_resize(graph, x, foreign.height, foreign.width)
    if way.layout == "nchw":
        x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    graph.nodes.append(helper.make_node("Cast", [x], [foreign.input], "input", to=foreign.kind))


def add_resize(graph: Graph, photos: str, height: int, width: int) -> str:
    """Scale photos [N, H, W, 3], whose number is only known when they come."""
    count = graph.add("Gather", graph.add("Shape", photos), graph.constant(np.array([0])))
    sizes = graph.add("Concat", count, graph.constant(np.array([height, width, 3])), axis=0)
    return graph.add("Resize", photos, "", "", sizes, mode="linear")


@dataclass(frozen=True, slots=True)
class Choice:
    """The preprocessing under which the model does best, and how well each way did: its accuracy on some photos."""

    way: Preprocessing
    answering: Answering
    accuracies: Mapping[str, float]


def choose_preprocessing(
    foreign: ForeignGraph, answering: Answering, photos: Photos, labels: Labels, report: Callable[[str, float], None]
) -> Choice:
    """Ask the model about some labelled photos in each way that is left open, and choose by log loss.

    *report* hears of each way, and its accuracy.

    Raises:
        CannotRegister: in each, its answers are no numbers, or the same whatever the photo.
    """
    tried: list[tuple[Preprocessing, Answering, npt.NDArray[np.float64]]] = []
    accuracies, failure = {}, ""
    for way in foreign.preprocessing.candidates():
        session = open_limited(with_input(foreign, way))
        rows = _ask(session, photos)
        if reason := _unusable(rows, session, photos):
            failure = reason
            continue
        found = replace(answering, form=_form(rows))
        logits = logits_of(rows, found)
        accuracies[str(way)] = float((logits.argmax(axis=1) == labels).mean())
        report(str(way), accuracies[str(way)])
        # In a wrong order of the classes, the ways that tell nothing would do best.
        ordered = logits[:, np.argsort(class_order(logits, labels))]
        tried.append((way, found, log_losses(soften(ordered, fit_temperature(ordered, labels)), labels)))
    if not tried:
        raise CannotRegister(failure, "try it on a photo in ONNX Runtime, and export it for inference")
    least = min((losses for _, _, losses in tried), key=lambda losses: float(losses.mean()))
    # A way that comes earlier is left for a later one only if that is better by more than a standard error.
    way, found, _ = next(each for each in tried if _as_good(each[2] - least))
    return Choice(way, found, accuracies)


_MISTAKEN_ORDER: Final = 0.3
"""How much more of the photos another order of the classes must get right to be the true one."""


def class_order(logits: npt.NDArray[np.floating], labels: Labels) -> npt.NDArray[np.int64]:
    """Give the class that each output, [C], is of: its own, unless another order is right far more often."""
    classes = logits.shape[1]
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (logits.argmax(axis=1), labels), 1 / len(labels))
    outputs, best = linear_sum_assignment(-confusion)
    better = confusion[outputs, best].sum() - np.trace(confusion) > _MISTAKEN_ORDER
    return np.asarray(best if better else np.arange(classes), np.int64)


def _as_good(behind: npt.NDArray[np.float64]) -> bool:
    return bool(behind.mean() <= behind.std() / np.sqrt(len(behind)))


def ask(foreign: ForeignGraph, choice: Choice, photos: Photos) -> npt.NDArray[np.float64]:
    """Give the model's own logits, [N, C], with the preprocessing that was chosen."""
    return logits_of(_ask(open_limited(with_input(foreign, choice.way)), photos), choice.answering)


def _ask(session: onnxruntime.InferenceSession, photos: Photos) -> npt.NDArray[np.float64]:
    answers = [run_limited(session, photos[at : at + _BATCH])[0] for at in range(0, len(photos), _BATCH)]
    return np.concatenate(answers).reshape(len(photos), -1).astype(np.float64)


def _unusable(rows: npt.NDArray[np.float64], session: onnxruntime.InferenceSession, photos: Photos) -> str:
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows).all(axis=1)).sum())
        return f"its answers to {bad} of {len(rows)} photos are not finite numbers"
    if len(rows) > 1 and float(np.ptp(rows, axis=0).max()) <= 1e-6 * max(1.0, float(np.abs(rows).max())):
        return f"it gives the same answer to {len(rows)} different photos"
    alone = np.concatenate([run_limited(session, photos[at : at + 1])[0] for at in range(min(3, len(photos)))])
    if np.abs(alone.reshape(len(alone), -1) - rows[: len(alone)]).max() > 5e-2 * max(1.0, float(np.abs(rows).max())):
        return "its answer to a photo changes when it is asked again, or with other photos"
    return ""


def _form(rows: npt.NDArray[np.float64]) -> Literal["probability", "sigmoid", "logits"]:
    if rows.min() < 0 or rows.max() > 1 + 1e-3:
        return "logits"
    if rows.shape[1] == 1 or np.allclose(rows.sum(axis=1), 1, atol=2e-3):
        return "probability"
    return "sigmoid"


LEAST: Final = 1e-6
"""A probability below it counts as this one: its logarithm must be finite."""


def logits_of(rows: npt.NDArray[np.float64], answering: Answering) -> npt.NDArray[np.float64]:
    """Turn answers [N, numbers] into logits [N, C], as the nodes that `join` adds do."""
    if answering.form == "logits":
        found = rows
    elif answering.form == "probability" and answering.numbers > 1:
        return np.asarray(np.log(np.maximum(rows, LEAST)))
    else:
        found = np.log(np.maximum(rows, LEAST)) - np.log(np.maximum(1 - rows, LEAST))
    return np.column_stack([np.zeros(len(found)), found]) if answering.numbers == 1 else found

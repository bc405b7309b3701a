"""Custom backbone: an ONNX file of the user's in place of EfficientNet, read without trust.

Its interface: one input, float32 [N, 3, S, S] or [N, S, S, 3] (S fixed, N free), RGB values from 0 to 255, so that the
graph normalizes them itself; one output, float32, the features [N, F] or their maps [N, F, G, G], whose means over the
places are the features. Only with maps can a model show which places of a photo decided. The file keeps its precision.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from scones.domain.text import printable
from scones.training.backbone import OPSET, BackboneError, Graph
from scones.training.export import EXACT, FeatureModel, Pooled
from scones.training.foreign import ForeignGraph, converted, open_limited, read_foreign, run_limited, short_reason
from scones.training.preprocessing import Preprocessing
from scones.training.registration import CannotRegister
from scones.training.restoration import add_restoration

FEATURES: Final = range(2, 16_385)
"""How many features a photo may have."""
_TRIED: Final = 3
_EXPORT: Final = "export it with one float32 output, the features [N, F] or their maps [N, F, G, G]"


class InvalidBackbone(BackboneError):
    """The ONNX file cannot serve as a backbone; the message says why and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"the backbone cannot be used: {reason}; {advice}")


def build_custom_backbone(data: bytes, sha256: str = "") -> FeatureModel:
    """Build a model from photos to features around the ONNX file *data*, with restoration before it.

    Raises:
        InvalidBackbone: it has another hash than *sha256*, may not run, or has another interface.
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in {"", found}:
        raise InvalidBackbone(f"its SHA-256 is {found}, not {sha256}", "upload it again by: scones train")
    try:
        foreign = read_foreign(data, Preprocessing(scale="0..255", order="rgb"))
        _check_interface(foreign)
        model = _with_input(foreign)
        return _with_output(model, foreign, _answer(model, foreign))
    except CannotRegister as error:
        raise InvalidBackbone(*str(error).partition(": ")[2].rsplit("; ", 1)) from error
    except BackboneError:
        raise
    except Exception as error:
        reason = f"its graph cannot be joined to Scones' own ({short_reason(error)})"
        raise InvalidBackbone(reason, f"export it with opset_version={OPSET}") from error


def _check_interface(foreign: ForeignGraph) -> None:
    (taken,) = (each for each in foreign.model.graph.input if each.name == foreign.input)
    sides = [each.dim_value for each in taken.type.tensor_type.shape.dim]
    place = slice(2, 4) if foreign.preprocessing.layout == "nchw" else slice(1, 3)
    if 0 in sides[place] or foreign.height != foreign.width:
        shape = " x ".join(str(side or "?") for side in sides[place])
        reason = f"its input takes photos of {shape} pixels, not of one fixed square size"
        raise InvalidBackbone(reason, "export it with a fixed height and width that are the same")
    if len(foreign.model.graph.output) != 1:
        names = ", ".join(printable(each.name)[:40] for each in foreign.model.graph.output[:5]) or "none"
        raise InvalidBackbone(f"it has {len(foreign.model.graph.output)} outputs ({names}) in place of one", _EXPORT)


def _with_input(foreign: ForeignGraph) -> onnx.ModelProto:
    """Put restoration before the graph, which then takes `photos`, uint8 [N, S, S, 3]."""
    model = onnx.ModelProto()
    model.CopyFrom(foreign.model)
    if next(each.version for each in model.opset_import if each.domain == "") < OPSET:
        model = converted(model)
    graph = Graph(EXACT)
    x = graph.add("Transpose", graph.add("Cast", "photos", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    white = graph.constant(np.float32(255))
    x = graph.add("Mul", add_restoration(graph, graph.add("Div", x, white)), white)
    if foreign.preprocessing.layout == "nhwc":
        x = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    graph.nodes.append(helper.make_node("Cast", [x], [foreign.input], f"{EXACT}input", to=foreign.kind))
    nodes = [*graph.nodes, *model.graph.node]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(graph.constants)
    shape: list[str | int] = ["N", foreign.side, foreign.side, 3]
    model.graph.input.append(helper.make_tensor_value_info("photos", TensorProto.UINT8, shape))
    return model


def _answer(model: onnx.ModelProto, foreign: ForeignGraph) -> npt.NDArray[np.floating]:
    """Try it on one photo and on several; give the output for those."""
    session = open_limited(model, optimized=False)
    photos = np.random.default_rng(0).integers(0, 256, (_TRIED, foreign.side, foreign.side, 3), dtype=np.uint8)
    answers = [np.asarray(run_limited(session, photos[:count])[0]) for count in (1, _TRIED)]
    for count, answer in zip((1, _TRIED), answers, strict=True):
        square = answer.ndim == 2 or (answer.ndim == 4 and answer.shape[2] == answer.shape[3])
        if not square or len(answer) != count or answer.shape[1] not in FEATURES or answer.dtype.kind != "f":
            raise InvalidBackbone(f"it gives {answer.dtype} {list(answer.shape)} for {count} photos", _EXPORT)
        if not np.isfinite(answer).all():
            raise InvalidBackbone("its features of noise are not finite", "export it for values from 0 to 255")
    return answers[-1]


def _with_output(model: onnx.ModelProto, foreign: ForeignGraph, answer: npt.NDArray[np.floating]) -> FeatureModel:
    graph = Graph("pool_")
    x = graph.add("Cast", foreign.model.graph.output[0].name, to=TensorProto.FLOAT)
    count, side, node = answer.shape[1], 1, ""
    if answer.ndim == 4:
        side = answer.shape[2]
        x = node = graph.add("ReduceMean", x, graph.constant(np.array([2, 3])), keepdims=0)
    graph.named("pooled", x)
    whole = graph.appended(model, {"pooled": (TensorProto.FLOAT, ["N", count])})
    return FeatureModel(whole, (Pooled(node, count, 0, None, side),), foreign.side)

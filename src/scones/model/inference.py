"""The model: a verified model file in ONNX Runtime, one thread, warmed."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from scones.domain.errors import ModelError
from scones.domain.text import printable
from scones.model.explanations import EXPLANATION_OUTPUTS, Explanation, explain
from scones.model.graph import ForbiddenGraph, check_graph
from scones.model.model_file import ModelFile
from scones.model.out_of_fold import OutOfFoldPredictions

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Answers = npt.NDArray[np.float32]
"""A photo's probabilities and, if the model has an OOD detector, its unfamiliarity: [N, C + 1], else [N, C]."""


class ModelUnusable(ModelError):
    """The model file is complete, but its model cannot be used."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"model {version} cannot serve: {reason}; train again with: scones train")
        self.version = version
        self.reason = reason


_MAX_REASON = 500
_MAX_TRIAL_SECONDS = 30.0
_MAX_TRIAL_BYTES = 4 << 30


@contextmanager
def memory_limit() -> Iterator[None]:
    """Let this process grow by a few gigabytes at most, where the system knows such a limit."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    limits = [each for each in (soft, hard, now + _MAX_TRIAL_BYTES) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Model:
    """Turns photos into probabilities; `classes` names their columns, `size` is the photos' side in pixels.

    Raises:
        ModelUnusable: ONNX Runtime refuses it, or its answers have another shape than one column a class.
    """

    def __init__(self, model_file: ModelFile) -> None:
        self.classes = model_file.classes
        self.size = model_file.image_size
        self.version = model_file.version
        self.unfamiliar_above = model_file.unfamiliar_above
        self._model_file = model_file
        ood_output = () if model_file.unfamiliar_above is None else ("unfamiliarity",)
        self._outputs = ("probabilities", *ood_output)
        # Otherwise what explains an answer would be computed for each.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        options = onnxruntime.SessionOptions()
        # The processes share the cores already; two threads a session cost 1.8 times the CPU.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        graph = model_file.model_path.read_bytes()
        try:
            check_graph(graph)
            with memory_limit():
                self._try_out(graph)
                self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
                self._try()
        except ForbiddenGraph as error:
            raise ModelUnusable(self.version, str(error)) from error
        except ModelUnusable:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base, and a hostile graph meets any of them
            reason = printable(" ".join(str(error).split()))[:_MAX_REASON] or type(error).__name__
            raise ModelUnusable(self.version, f"ONNX Runtime cannot use it ({reason})") from error

    def predict(self, photos: Pixels) -> Probabilities:
        """Return float32 [N, C] for uint8 [N, size, size, 3]."""
        return self.answer(photos)[:, : len(self.classes)]

    def answer(self, photos: Pixels) -> Answers:
        """Return the probabilities and, if the model has an OOD detector, the unfamiliarity in one more column."""
        probabilities, *unfamiliarity = self._session.run(self._outputs, {"photos": photos}, self._run_options)
        return np.column_stack([probabilities, *unfamiliarity]) if unfamiliarity else probabilities

    def measure(self, photos: Pixels) -> tuple[Answers, npt.NDArray[np.float32] | None]:
        """Return what `answer` does, and the backbone's features [N, F] that it comes from, if the model shows them."""
        if "features" not in self._known:
            return self.answer(photos), None
        *found, features = self._session.run([*self._outputs, "features"], {"photos": photos}, self._run_options)
        return np.column_stack(found), features

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(output.name for output in self._session.get_outputs())

    def explain(self, photos: Pixels) -> tuple[Answers, list[Explanation]]:
        """Return what `answer` does, and explain it as far as the model has outputs for that."""
        names = [*self._outputs, *(name for name in EXPLANATION_OUTPUTS if name in self._known)]
        found = dict(zip(names, self._session.run(names, {"photos": photos}, self._run_options), strict=True))
        answers = np.column_stack([found[name] for name in self._outputs])
        return answers, explain(found, self.classes, self._training, self.unfamiliar_above)

    @cached_property
    def _training(self) -> OutOfFoldPredictions | None:
        return OutOfFoldPredictions.kept(self._model_file)

    def warm(self, batch: int) -> None:
        """Run batches of up to *batch* photos: the first of each size allocates.

        Each worker does so by itself, for memory that is allocated before the fork would soon be copied.
        """
        for size in range(batch, 0, -1):
            self.answer(self._black(size))

    def _try_out(self, graph: bytes) -> None:
        """Run one photo for a limited time, before ONNX Runtime computes what is constant, which nothing can stop."""
        options, running = onnxruntime.SessionOptions(), onnxruntime.RunOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        if [each.name for each in session.get_inputs()] != ["photos"]:
            raise ModelUnusable(self.version, "its only input must be `photos`")
        timer = threading.Timer(_MAX_TRIAL_SECONDS, lambda: setattr(running, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            session.run(self._outputs, {"photos": self._black(1)}, running)
        except Exception as error:
            if running.terminate:
                slow = f"it needs more than {_MAX_TRIAL_SECONDS:.0f} s for one photo"
                raise ModelUnusable(self.version, slow) from error
            raise
        finally:
            timer.cancel()

    def _try(self) -> None:
        found = self.answer(self._black(1))
        columns = found.shape[-1] - len(self._outputs) + 1
        if columns != len(self.classes):
            raise ModelUnusable(self.version, f"it gives {columns} numbers for {len(self.classes)} classes")
        rows = found[:, :columns]
        if found.dtype != np.float32 or not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
            raise ModelUnusable(self.version, f"its probabilities add up to {rows.sum():.3g}")

    def _black(self, count: int) -> Pixels:
        return np.zeros((count, self.size, self.size, 3), np.uint8)

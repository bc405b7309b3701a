"""The model: a verified model file in ONNX Runtime, one thread, warmed."""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from scones.domain.errors import ModelError
from scones.model.explanations import EXPLANATION_OUTPUTS, Explanation, explain
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
        # They share no base of their own.
        refusals = (
            *(failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf),
            *(failures.NotImplemented, failures.RuntimeException, ValueError),
        )
        try:
            self._session = onnxruntime.InferenceSession(
                model_file.model_path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            self._try()
        except refusals as error:
            reason = " ".join(str(error).split())
            raise ModelUnusable(self.version, f"ONNX Runtime cannot use it ({reason})") from error

    def predict(self, photos: Pixels) -> Probabilities:
        """Return float32 [N, C] for uint8 [N, size, size, 3]."""
        return self.answer(photos)[:, : len(self.classes)]

    def answer(self, photos: Pixels) -> Answers:
        """Return the probabilities and, if the model has an OOD detector, the unfamiliarity in one more column."""
        probabilities, *unfamiliarity = self._session.run(self._outputs, {"photos": photos}, self._run_options)
        return np.column_stack([probabilities, *unfamiliarity]) if unfamiliarity else probabilities

    def explain(self, photos: Pixels) -> tuple[Answers, list[Explanation]]:
        """Return what `answer` does, and explain it as far as the model has outputs for that."""
        known = {output.name for output in self._session.get_outputs()}
        names = [*self._outputs, *(name for name in EXPLANATION_OUTPUTS if name in known)]
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

    def _try(self) -> None:
        found = self.answer(self._black(1))
        columns = found.shape[-1] - len(self._outputs) + 1
        if columns != len(self.classes):
            raise ModelUnusable(self.version, f"it gives {columns} numbers for {len(self.classes)} classes")
        rows = found[:, :columns]
        if not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
            raise ModelUnusable(self.version, f"its probabilities add up to {rows.sum():.3g}")

    def _black(self, count: int) -> Pixels:
        return np.zeros((count, self.size, self.size, 3), np.uint8)

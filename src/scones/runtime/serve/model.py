"""The model: a verified artefact in ONNX Runtime, one thread, warmed."""

import os
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.artefact import Artefact

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

_WARM_SIZES: Final = (1, 2, 4, 8, 16)


class Model:
    """Turns photos into probabilities; `classes` names their columns, `size` is the photos' side in pixels."""

    def __init__(self, artefact: Artefact) -> None:
        # ONNX Runtime's wheels report to their maker, from a thread of their own, unless told not to before loading.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # noqa: PLC0415 - after the line above

        options = onnxruntime.SessionOptions()
        # The processes share the cores already; two threads a session cost 1.8 times the CPU.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(artefact.model_path), options, providers=["CPUExecutionProvider"]
        )
        self.classes = artefact.classes
        self.size = artefact.image_size
        self.version = artefact.version

    def predict(self, photos: Pixels) -> Probabilities:
        """Return float32 [N, C] for uint8 [N, size, size, 3]."""
        (probabilities,) = self._session.run(("probabilities",), {"photos": photos})
        return probabilities  # type: ignore[no-any-return]

    def warm(self) -> None:
        """Run each size of batch once: the first run of each allocates."""
        for size in _WARM_SIZES:
            self.predict(np.zeros((size, self.size, self.size, 3), np.uint8))

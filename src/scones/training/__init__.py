"""Training: the program that SageMaker runs as `train`; the only package that imports torch.

Read `sagemaker_entrypoint` for its input and `train` for its steps: `cross_validation` fits a network per fold and the
final one in separate processes (`workers`, `fit`, `network`, `recipe`); `assemble` exports them with
their `calibration`.
"""

import os

# ONNX Runtime's wheels send telemetry, from a thread of their own, unless told not to before they load.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

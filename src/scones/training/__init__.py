"""Training: the program that SageMaker runs as `train`.

Read `sagemaker_entrypoint` for its input and `train` for its steps: `backbone`, with `restoration` before it, is what
sees; `features` are what it sees in each view of a photo; `cross_validation` fits a `head` on them for each fold and
the final one; `export` writes the model with its `calibration`.
"""

import os

# ONNX Runtime's wheels send telemetry, from a thread of their own, unless told not to before they load.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

"""The model file, and inference with it in ONNX Runtime."""

import os

# ONNX Runtime's wheels send telemetry, from a thread of their own, unless told not to before they load.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

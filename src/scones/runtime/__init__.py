"""What AWS runs: the training and serving programs and the Lambdas; here alone the environment is the contract."""

import os

# ONNX Runtime's wheels report to their maker, from a thread of their own, unless told not to before they load.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

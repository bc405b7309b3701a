"""Monitoring: compares what the endpoint receives and predicts now with what the model was trained on.

`inspect.inspect` is one pure function: from the saved state, the captured records, the registered model and what else
is known when a run starts, it computes the new state, the documents, the metrics and the notices. `steps/monitor.py`
reads the records, calls it, and writes what it returns. The parts, each of which uses only those before it: `capture`
(records), `drift` (features and tests), `performance` (prediction check, accuracy), `history`, `run` (one run, window
by window), `alerts`, and `checks`, `model_monitor` (SageMaker's documents and metrics) and `monitor_state`.
"""

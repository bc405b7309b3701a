"""Performance: does the registered model answer, and how accurate is it now?

Read `registered_model`, then `prediction_check` (captured predictions against the registered model's),
`accuracy_estimate` (without labels) and `labels` (with a few).
"""

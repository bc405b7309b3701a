"""Data capture: what the endpoint received and predicted, each record once. Read `records`, then `cursor`."""

"""Evaluating a model on labelled photos, without AWS and without training code.

`metrics` and `calibration` score predictions, `thresholds` selects the confidence threshold, `comparison`,
`robustness`, `ood` and `load_test` measure one aspect each, and `gate` decides on approval. `evaluation` runs them all
on a model that `model_client` makes callable.
"""

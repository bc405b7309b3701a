"""Batches: what a run over many images writes, and how its results are read."""

"""Batch runs: the files of a run over many photos, and one result per photo."""

"""Judging the model: figures with their uncertainty, charts and the report."""

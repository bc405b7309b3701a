"""Watching the model: what the endpoint sees now, against what it was trained on."""

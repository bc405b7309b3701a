"""The training program, `python -m scones.runtime.train`."""

"""Scones tells bicycles from motorcycles, and runs the whole workflow around that decision."""

__version__ = "0.1.0"

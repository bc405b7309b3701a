"""Data: load, validate and split labelled images; decode untrusted files within limits."""

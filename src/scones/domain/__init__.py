"""The domain: decisions, errors, tags and timestamps; no dependencies beyond the standard library."""

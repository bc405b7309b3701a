"""Configuration: every setting, and how flags, environment and `scones.toml` are merged."""

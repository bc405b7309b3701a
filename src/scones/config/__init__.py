"""Configuration: every setting with its type, allowed values and default, and where values come from.

`settings` has the settings; `loading` reads flags, the environment and `scones.toml`, in this order of precedence.
"""

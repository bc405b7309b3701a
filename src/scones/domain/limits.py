"""Limits: the maximum size of each part of an event; a test in tests/infra proves that no state exceeds AWS's limit."""

STATE_LIMIT_BYTES = 262_144
"""Step Functions' limit for the input and output of a state."""
INLINE_LIMIT_BYTES = 64 * 1024
"""The largest photo that travels in the state; base64 adds a third, so this leaves room for all the rest."""
EVENT_LIMIT_BYTES = 8 * 1024
"""The largest event without its photo, as JSON."""
PHOTO_LIMIT_BYTES = 6 * 1024 * 1024
"""The largest photo that the endpoint accepts."""
MAX_NAME_CHARACTERS = 128
"""The maximum length of the name of a courier, a class or a model's version."""
MAX_CLASSES = 64
"""The maximum number of probabilities in an answer."""
MAX_ORDERS = 20
"""The largest capacity that a courier may claim: all of a photo's writes must fit one transaction."""
MAX_REASON_CHARACTERS = 1000
"""The maximum length of the reason of a refusal."""

"""Limits: the most that each part of an event may hold; the proof in tests/infra counts with them."""

STATE_LIMIT_BYTES = 262_144
"""Where Step Functions stops, for every state's input and output."""
INLINE_LIMIT_BYTES = 64 * 1024
"""The largest photo that travels in the state; base64 adds a third, so this leaves room for all the rest."""
BESIDE_LIMIT_BYTES = 8 * 1024
"""The most that an event may hold beside its photo, as JSON."""
PHOTO_LIMIT_BYTES = 6 * 1024 * 1024
"""The largest photo: what the endpoint takes."""
LONGEST_ID = 128
"""The longest name, in characters, of a courier, a class or a model's version."""
MOST_CLASSES = 64
"""The most probabilities that an answer may hold."""
MOST_ORDERS = 20
"""The largest capacity that a courier may claim: all of a photo's writes must fit one transaction."""
LONGEST_REASON = 1000
"""The longest reason, in characters, of a refusal."""

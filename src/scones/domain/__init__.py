"""The domain: what every other package may import; the standard library alone.

Read `decision` first: it has the outcomes of a photo, and the limits of an event. `naming` has the names of all objects
in the bucket, tags and timestamps; `errors` the hierarchy of errors; `progress` the interface to the terminal.
"""

from typing import Final

VERSION: Final = "0.1.0"

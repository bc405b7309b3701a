"""Scones tells bicycles from motorcycles, and runs the whole workflow around that decision.

```python
import scones

with scones.Scones(env="dev", data="path/to/photos") as pipeline:  # the commands, as methods
    pipeline.stage()
scones.predict("model.tar.gz", ["a.jpg"])  # without a cloud
```
"""

from typing import TYPE_CHECKING

from scones.domain import VERSION
from scones.domain.errors import SconesError

if TYPE_CHECKING:
    from scones.cli.session import Scones
    from scones.model.prediction import Prediction, predict

__version__ = VERSION
__all__ = ["Prediction", "Scones", "SconesError", "__version__", "predict"]


def __getattr__(name: str) -> object:
    """Load what is asked for: `import scones` itself takes no time."""
    if name == "Scones":
        from scones.cli.session import Scones  # noqa: PLC0415

        return Scones
    if name in {"Prediction", "predict"}:
        from scones.model import prediction  # noqa: PLC0415

        return getattr(prediction, name)
    raise AttributeError(f"module 'scones' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is to use, also before it is loaded: notebooks complete names by this."""
    return __all__

"""`python -m scones.training`: what SageMaker runs as `train`; with `image-classification`, in the algorithm's place.

It keeps the container contract below `SAGEMAKER_BASE_DIR` (`/opt/ml`): it ends with 0 and `model/` filled, or with 1
(the algorithm with 2, as AWS's does for wrong input) and one line in `output/failure`. SIGTERM stops it within a few
seconds, with 143; the same job started again goes on from the features in `checkpoints/`.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final

from scones.domain.errors import SconesError
from scones.domain.text import printable
from scones.training.image_classification import train_image_classification
from scones.training.sagemaker_entrypoint import TrainingJob, failure_reported
from scones.training.train import train

_STOPPED: Final = 128 + signal.SIGTERM
_INTERRUPTED: Final = 128 + signal.SIGINT
_WRONG_INPUT: Final = 2


def main() -> int:
    """Run the job that the environment describes and give the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    algorithm = sys.argv[1:] == ["image-classification"]
    job = TrainingJob(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))
    try:
        with failure_reported(job):
            (train_image_classification if algorithm else train)(job)
    except SconesError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return _WRONG_INPUT if algorithm else 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(_STOPPED)


if __name__ == "__main__":
    sys.exit(main())

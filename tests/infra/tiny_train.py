"""A training program that makes the tiny model, whatever the photos show, and leaves a checkpoint as ours does."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import write_tiny_model_file

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])  # noqa: TID251 - the contract is the environment

with tempfile.TemporaryDirectory() as folder:
    write_tiny_model_file(Path(folder) / "model")
    shutil.copytree(Path(folder) / "model", BASE / "model", dirs_exist_ok=True)
(BASE / "checkpoints").mkdir(exist_ok=True)
(BASE / "checkpoints" / "version").write_text("tiny")

"""A tiny training program: it proves the container contract without a model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])  # noqa: TID251 - the contract is the environment


def say(line: str) -> None:
    """Write one line of the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Do what the hyperparameters ask."""
    wanted = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    assert all(isinstance(value, str) for value in wanted.values())
    if wanted.get("fail"):
        (BASE / "output/failure").write_text(wanted["fail"])
        return int(wanted.get("code", "1"))
    if wanted.get("escape"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=BASE, start_new_session=True)
    kept = BASE / "checkpoints/deep/steps"
    if wanted.get("steps"):
        before = int(kept.read_text()) if kept.exists() else 0
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(str(before + int(wanted["steps"])))
    if wanted.get("sleep"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        say("sleeping")
        time.sleep(float(wanted["sleep"]))
    files = sorted(str(p.relative_to(BASE / "input/data")) for p in (BASE / "input/data").rglob("*") if p.is_file())
    say("epoch=1/2 train_loss=0.9")
    say("epoch=2/2 train_loss=0.25")
    say(f"files={files}")
    for line in wanted.get("say", "").split("|"):
        say(line)
    (BASE / "model/model.json").write_text(json.dumps({"files": files, "answer": wanted.get("answer", "0.5")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

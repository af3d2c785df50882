"""A sample of the harness, of every part a case; ``bash scripts/trust.sh`` runs all of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_a_sample_of_every_part_holds(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, HERE / "harness.py", "--folder", tmp_path, "--most", "1", "--jobs", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    good, all_ = map(int, re.fullmatch(r"(\d+) of (\d+)", done.stdout.splitlines()[-1]).groups())
    assert good == all_ == 7

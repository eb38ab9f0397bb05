"""Trainings in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_training(recipe: Path, out: Path, *extra: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgeark", "train", str(recipe), "--out", str(out), *extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )

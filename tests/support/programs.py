"""Board programs, run in the environments of the runtimes that they call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from edgeark.export.targets.base import Target

# What the board's own Python would have: of ExecuTorch PyTorch, last on the path, so that the
# environment's own packages come first; of rknn-toolkit2 two names, which is all that importing
# it needs.
_BEFORE = {
    "executorch": f"sys.path.append({str(Path(torch.__file__).parents[1])!r})",
    "rknn": """
import types
torch = types.ModuleType("torch")
torch.no_grad = lambda: lambda function: function
torch.nn = types.ModuleType("torch.nn")
torch.nn.Module = object
sys.modules.update({"torch": torch, "torch.nn": torch.nn})
""",
}
_START = """
import runpy, sys
{before}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Modules that a board may lack, and an environment here may have.
_HIDE = "sys.modules.update(dict.fromkeys(('PIL', 'cv2')))\n"


@dataclass(frozen=True)
class Ran:
    """What a program ended with."""

    status: int
    out: str
    err: str

    def documents(self) -> list[dict[str, Any]]:
        """The JSON lines among what it printed: a vendor's runtime prints words of its own."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


def run_program(bundle: Path, target: Target, *arguments: object, bare: bool = False) -> Ran:
    """Run a bundle's Python program as on a board; ``bare``: without Pillow and OpenCV."""
    python = sys.executable if target.toolchain is None else str(target.toolchain.ensure())
    before = (_HIDE if bare else "") + _BEFORE.get(target.name, "")
    command = [python, "-c", _START.format(before=before), bundle / "python" / "run.py", *arguments]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=bundle.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "OMP_NUM_THREADS": "1"},
    )
    return Ran(done.returncode, done.stdout, done.stderr)

"""What needs no PyTorch does not import it: mistyped names, missing files, lists."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "matplotlib", "PIL")
PROGRAM = f"""
import sys
from edgeark.cli import main
try:
    main(sys.argv[1:])
finally:
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, f"IMPORTED {{loaded}}"
"""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("models", 0, "yolov5n"),
        ("models --json", 0, '"trained": true'),
        ("export mnst --to onnxruntime", 2, "did you mean mnist"),
        ("export mnist --to onnxruntim", 2, "did you mean onnxruntime?"),
        ("check mnist --to mnn,opencvv", 2, "did you mean opencv?"),
        ("check mnist --to rk3588", 2, "did you mean rknn:rk3588"),
        ("check mnist --to foobar", 2, "edgeark targets lists them"),
        ("check lost.onnx --to mnn", 2, "there is no file lost.onnx"),
        ("eval lost.py:Net --to pytorch,mnn", 2, "no file lost.py"),
        ("conformance mnst --to mnn", 2, "did you mean mnist"),
        ("run lost/export --image a.png", 2, "there is no lost/export"),
    ],
)
def test_these_answer_without_pytorch(words: str, status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "IMPORTED" not in done.stderr, done.stderr
    assert done.returncode == status and said in done.stdout + done.stderr


def test_importing_edgeark_imports_nothing_heavy() -> None:
    code = f"import sys, edgeark; assert not {set(HEAVY)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

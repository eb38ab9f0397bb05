"""Rewriting: what is mended is equal, the rules find nothing more, and the engine computes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgeark
import pytest
import torch
from edgeark import cli
from edgeark.export.graph import Graph
from edgeark.export.lint.subject import check_model
from edgeark.export.rewrite import RewriteError, rewrite, write_network
from edgeark.export.rewrite.draft import Draft, begin
from edgeark.export.lint.network import export_program
from edgeark.export.target import Conversion
from edgeark.export.targets import find_target, find_targets
from edgeark.export.targets.isolated import WorkerTarget
from edgeark.export.targets.onnxruntime import OnnxRuntime
from edgeark.export.verify import compare
from engine_cases import Case, is_right
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from settled import SPEC, make_pictures
from target_base import installed_target
from test_cpu_engine_rules import ENGINES as CPU_ENGINES
from test_cpu_engine_rules import ONNXRUNTIME
from test_opencv_rules import ENGINES as OPENCV_ENGINES
from torch import Tensor, nn
from torch.nn import functional as f
from tries import Between, Function, try_each

ENGINES = {**CPU_ENGINES, **OPENCV_ENGINES}
# Kinds of what has no mend here: each is left, and named
LEFT = {
    "mnn": {"atan2", "isnan", "nan_to_num", "xlogy", "col2im", "fmod", "index_put", "eq", "ne"},
}


class Whole(nn.Module):
    """A function as a network."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

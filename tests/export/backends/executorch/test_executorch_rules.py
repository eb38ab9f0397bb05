"""ExecuTorch on the examples of its rules: it refuses, errs or is slow on the bad ones alone."""

from __future__ import annotations

from pathlib import Path

import torch
from edgeark.export.backends.executorch.examples import EXAMPLES
from edgeark.export.backends.executorch.target import ExecuTorch
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Networks, try_networks

ERRORS = [example for example in EXAMPLES if not example.cpu_ops and example.precision != "int8"]
SLOW = [example for example in EXAMPLES if example.cpu_ops]
INT8 = [example for example in EXAMPLES if example.precision == "int8"]


def installed() -> ExecuTorch:
    target = installed_target("executorch")
    assert isinstance(target, ExecuTorch)
    return target


def test_errors_are_executorchs(tmp_path: Path) -> None:
    tried = try_networks(installed(), [(e.network("bad"), SPEC) for e in ERRORS], tmp_path)
    right = [not t.error and t.sqnr_db >= 40 for t in tried]
    assert [example for example, is_right in zip(ERRORS, right, strict=True) if is_right] == []


def test_int8_stops_where_a_rule_says_so(tmp_path: Path) -> None:
    networks = [(e.network(which), SPEC) for e in INT8 for which in ("bad", "good")]
    tried = try_networks(installed(), networks, tmp_path, precision="int8")
    assert [not t.error and t.sqnr_db > 20 for t in tried] == [False, True] * len(INT8)


def test_xnnpack_leaves_what_is_warned_of_and_takes_the_rest(tmp_path: Path) -> None:
    target = installed()
    torch.manual_seed(0)
    bad, good = tmp_path / "bad", tmp_path / "good"
    for folder in (bad, good):
        folder.mkdir()
    graph = settle(Networks([example.network("bad") for example in SLOW]), SPEC, bad)
    artifact, _ = prove(target, graph, "float32", bad)
    kernels = artifact.settings["portable_ops"]
    names = [name for example in SLOW for name in example.cpu_ops]
    assert [name for name in names if not any(name in kernel for kernel in kernels)] == []
    networks = Networks([example.network("good") for example in EXAMPLES])
    artifact, _ = prove(target, settle(networks, SPEC, good), "float32", good)
    assert artifact.settings["portable_ops"] == []

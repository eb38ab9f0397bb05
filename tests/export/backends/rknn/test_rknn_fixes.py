"""The toolkit's own words lead to a fix. They are quoted from its logs and from public threads."""

from __future__ import annotations

import re

import pytest
from edgeark.export.backends.rknn.fixes import HINTS, cpu_mend

SAID = {
    "ModuleNotFoundError: No module named 'pkg_resources'": "setuptools",
    "AttributeError: module 'onnx' has no attribute 'mapping'": "onnx >= 1.19",
    "E load_onnx: Unsupport onnx opset 20, need <= 19!": "opset of at most 19",
    "E RKNN: Invalid RKNN model version 6": "librknnrt",
    "E load_onnx: The input shape ['N', 3, 'H', 'W'] not support": "fixed",
    "E RKNN: [02:26:07.198] REGTASK: The bit width of field value exceeds the limit, target: v2": (
        "stride"
    ),
    "W You can add disable_rules=['fuse_reshape_transpose'] in rknn.config()": "flattened map",
    "Current target_platform(rv1106) not support do_quantization = False!": "--int8",
    "the process died with SIGSEGV": "bicubic",
}


@pytest.mark.parametrize(("said", "fix"), SAID.items())
def test_what_is_said_leads_to_one_mend(said: str, fix: str) -> None:
    (found,) = [hint.fix for hint in HINTS if re.search(hint.pattern, said)]
    assert fix in found and "\n" not in found


def test_every_hint_is_needed() -> None:
    assert all(any(re.search(hint.pattern, said) for said in SAID) for hint in HINTS)


def test_every_operator_has_a_mend() -> None:
    assert "align_corners=False" in cpu_mend("Resize")
    assert "host" in cpu_mend("TopK")

"""Convolutions of any kernel as 3x3 ones: they are equal, and the K210 takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.k210.target import K210
from edgeark.export.graph.files import Graph
from edgeark.export.rewrite import rewrite
from edgeark.export.rewrite.kernels import threes
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.command import Run
from support.settled import SPEC, prove, settle
from torch import nn
from torch.nn import functional as f

sides = st.integers(1, 7)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@given(
    kernel=st.tuples(sides, sides),
    stride=st.sampled_from([1, 2, 4]),
    padding=st.one_of(st.sampled_from(["same", "valid", "half"]), st.integers(0, 3)),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    size=st.sampled_from([(16, 24), (15, 8), (32, 12)]),
)
@example((7, 7), 2, 3, 1, 1, (32, 12))
@example((6, 6), 2, 2, 1, 1, (16, 24))
@example((4, 4), 4, 0, 1, 1, (16, 24))
@example((7, 7), 1, 3, 1, 4, (15, 8))
@example((2, 5), 1, "same", 2, 2, (16, 24))
def test_it_is_the_same_convolution(
    kernel: tuple[int, int],
    stride: int,
    padding: str | int,
    dilation: int,
    groups: int,
    size: tuple[int, int],
) -> None:
    assume(stride == 1 or padding not in ("same", "valid"))
    half = [dilation * (side - 1) // 2 for side in kernel]
    margin = half if padding == "half" else padding
    x, weight, bias = torch.randn(1, 4, *size), torch.randn(8, 4 // groups, *kernel), torch.randn(8)
    try:
        wanted = f.conv2d(x, weight, bias, stride, margin, dilation, groups)
    except RuntimeError:  # the kernel is larger than the map
        assume(False)
        raise
    given = margin if isinstance(margin, (str, list)) else [margin]
    found = threes.function(x, weight, bias, [stride], given, [dilation], groups)
    is_fitting = wanted.shape[2:] == torch.Size(side // stride for side in size)
    is_fitting = is_fitting and not any(side % stride for side in size)
    assert found is not None or not is_fitting or dilation * (max(kernel) - 1) > 6
    if found is not None:
        assert is_fitting
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def _block(channels: int, count: int, kernel: int, stride: int = 1, **given: int) -> nn.Module:
    given.setdefault("padding", kernel // 2)
    conv = nn.Conv2d(channels, count, kernel, stride, **given, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(count), nn.ReLU())


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(lambda: _block(3, 8, 7, 2), id="resnet"),
        pytest.param(lambda: _block(3, 8, 6, 2, padding=2), id="yolov5"),
        pytest.param(lambda: _block(3, 8, 4, 4, padding=0), id="patches"),
        pytest.param(
            lambda: nn.Sequential(_block(3, 8, 3), _block(8, 8, 5, groups=8)), id="mobilenet_v3"
        ),
        pytest.param(
            lambda: nn.Sequential(
                _block(3, 8, 3), _block(8, 8, 3, dilation=2, padding=2), _block(8, 8, 3, groups=4)
            ),
            id="holes-and-groups",
        ),
    ],
)
def test_the_kpu_computes_it(block: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    target, model = K210(), nn.Sequential(block(), _block(8, 4, 1))
    settle(model, SPEC, tmp_path)
    done = rewrite(model, SPEC.input_shape, [target])
    assert done.changes and not [each for each in done.left if each.severity == "error"]
    prove(target, Graph(done.model, SPEC, tmp_path), "int8", tmp_path)


def test_a_bundle_in_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.py").write_text(
        "from torch import nn\n\n\nclass Wide(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
    )
    (tmp_path / "spec.toml").write_text('task = "segmentation"\nclasses = ["a", "b", "c", "d"]\n')
    command = ("bundle", "wide.py:Wide", "--input-shape", "3x32x48", "--spec", "spec.toml")
    command += ("--to", "k210", "--out", "out")
    refused = run(*command)
    assert refused.status == 2 and "a kernel of 5x5" in refused.err
    assert not (tmp_path / "out").exists()
    made = run(*command, "--rewrite", "--json")
    assert made.status == 0, made.err
    assert "model.kmodel" in made.json["files"]

"""nncase's rules against nncase: what it fails on, computes wrongly, or leaves to the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from edgeark.export.backends.nncase.rules import RULES
from edgeark.export.lint import Finding, capture_network, check
from edgeark.export.toolchains import ToolchainError
from support.nncase_cases import SPEC, Between, convert, make_images, set_batch_norm, sqnr_db
from support.target_base import installed_target
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.fixture(scope="module")
def toolchain() -> None:
    installed_target("k210-nncase")


needs_toolchain = pytest.mark.usefixtures("toolchain")


def found_in(model: nn.Module) -> dict[str, Finding]:
    return {f.rule: f for f in check(capture_network(model, SPEC.input_shape), RULES, "")}


def conv(outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(8, outputs, kernel, stride, kernel // 2, groups=groups)


# A rule, a layer that breaks it, its fixed neighbour: both between two convolutions.
FAILURES = {
    "gelu": (nn.GELU(), nn.SiLU()),
    "transposed-convolution": (
        nn.ConvTranspose2d(8, 8, 2, 2),
        nn.Sequential(nn.Upsample(scale_factor=2.0), conv(8)),
    ),
    "padding-layer": (nn.ZeroPad2d((0, 1, 0, 1)), conv(8)),
    "resize-to-a-size": (nn.Upsample(size=(40, 40)), nn.Upsample(scale_factor=2.0)),
    "dilated-pool": (nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(2)),
    "pool-ceil-mode": (nn.AvgPool2d(3, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
}
WRONG = {
    "half-pixel-bilinear": (
        nn.Upsample(scale_factor=2.0, mode="bilinear"),
        nn.Upsample(scale_factor=2.0),
    ),
    "padded-average": (nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2)),
    "fractional-size": (nn.Upsample(scale_factor=1.3), nn.Upsample(scale_factor=1.5)),
    "depthwise-multiplier": (
        nn.Sequential(conv(16, groups=8), nn.Conv2d(16, 8, 1)),
        nn.Sequential(conv(8, groups=8), nn.Conv2d(8, 8, 1)),
    ),
}


class Skip(nn.Module):
    """A map and its pooled half; with ``thinned`` it is a 1x1 convolution's that is pooled."""

    def __init__(self, thinned: bool) -> None:
        super().__init__()
        self.thin = conv(8, 1) if thinned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        small = F.max_pool2d(self.thin(x), 2)
        return F.interpolate(small, scale_factor=2.0) + x


LEFT_TO_THE_CPU = {
    "kernel": (conv(8, 5), conv(8)),
    "groups": (conv(8, groups=2), conv(8, groups=8)),
    "dilation": (nn.Conv2d(8, 8, 3, padding=2, dilation=2), conv(8)),
    "stride": (nn.Conv2d(8, 8, 3, 3, 1), conv(8, 3, 2)),
    "padding": (nn.Conv2d(8, 8, 3), conv(8)),
    "channels": (nn.Sequential(conv(1030, 1), nn.Conv2d(1030, 8, 1)), conv(8)),
    "small-map": (nn.Sequential(nn.MaxPool2d(4), nn.MaxPool2d(2), conv(8)), nn.MaxPool2d(4)),
    "cpu-pool": (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)),
    "depthwise-stride": (conv(8, 3, 2, 8), nn.Sequential(conv(8, 3, 2, 8), conv(8, 1))),
    "pool-of-a-skip": (Skip(False), Skip(True)),
    "instance-norm": (nn.InstanceNorm2d(8), nn.BatchNorm2d(8)),
    "cpu-operator": (nn.PReLU(8), nn.LeakyReLU(0.1)),
    "normalization-inside": (
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8)),
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()),
    ),
}


@pytest.mark.parametrize("rule", [*FAILURES, *WRONG, *LEFT_TO_THE_CPU])
def test_a_rule_fires_and_its_mend_is_silent(rule: str) -> None:
    broken, fixed = {**FAILURES, **WRONG, **LEFT_TO_THE_CPU}[rule]
    finding = found_in(Between(broken).eval())[rule]
    is_error = rule in FAILURES or rule in WRONG
    assert (finding.severity == "error") == is_error and finding.reason and finding.fix
    left = found_in(Between(fixed).eval())
    assert rule not in left and not [f for f in left.values() if f.severity == "error"]


@needs_toolchain
@pytest.mark.parametrize(
    "rule", ["transposed-convolution", "padding-layer", "dilated-pool", "pool-ceil-mode"]
)
def test_the_mend_of_a_failure_compiles(rule: str, tmp_path: Path) -> None:
    """That the others fail is shown in ``test_nncase.py``."""
    broken, fixed = (Between(layer) for layer in FAILURES[rule])
    folders = [tmp_path / name for name in ("broken", "fixed")]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(ToolchainError):
        convert(broken, folders[0])
    convert(fixed, folders[1])


@needs_toolchain
@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_answer_and_its_mend(rule: str, tmp_path: Path) -> None:
    found = []
    for name, layer in zip(("broken", "fixed"), WRONG[rule], strict=True):
        model, folder = Between(layer), tmp_path / name
        folder.mkdir()
        set_batch_norm(model, make_images(16, 3))
        artifact, _, graph = convert(model, folder)
        found.append(sqnr_db(artifact, graph))
    assert found[0] < 15 and found[1] > 20


CPU_CASES: dict[str, Callable[[tuple[str, ...]], bool]] = {
    "kernel": lambda ops: any(op.startswith("Conv2D") for op in ops),
    "depthwise-stride": lambda ops: any("Slice" in op for op in ops),
    "pool-of-a-skip": lambda ops: any(op.startswith("ReduceWindow2D") for op in ops),
}


@needs_toolchain
@pytest.mark.parametrize("rule", CPU_CASES)
def test_a_warning_is_work_of_the_cpu(rule: str, tmp_path: Path) -> None:
    said = []
    for name, layer in zip(("broken", "fixed"), LEFT_TO_THE_CPU[rule], strict=True):
        folder = tmp_path / name
        folder.mkdir()
        _, placement, _ = convert(Between(layer), folder)
        said.append(CPU_CASES[rule](placement.cpu_ops))
    assert said == [True, False]

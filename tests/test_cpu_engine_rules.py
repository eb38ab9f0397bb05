"""Rules of MNN, OpenCV, OpenVINO and ONNX Runtime: each fires where the engine fails.

And not on its neighbour, which the engine computes rightly.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.graph import Graph
from edgeark.export.lint import Rule
from edgeark.export.lint import mnn as mnn_rules
from edgeark.export.lint import onnxruntime as onnxruntime_rules
from edgeark.export.lint import opencv as opencv_rules
from edgeark.export.lint import openvino as openvino_rules
from edgeark.export.target import Conversion
from edgeark.export.targets import find_target
from edgeark.export.targets.isolated import WorkerTarget
from edgeark.export.targets.onnxruntime import OnnxRuntime
from edgeark.export.toolchains import ToolchainError
from edgeark.export.verify import compare
from settled import SPEC, make_pictures, prove, settle
from target_base import installed_target
from torch import Tensor, nn
from torch.nn import functional as f
from tries import Between, Branches, Function, Try, findings, try_each

Case = tuple[str, Function, Function]

GRID = f.affine_grid(
    torch.tensor([[[1.2, 0.3, 0.1], [-0.3, 1.1, 0.05]]]), [1, 8, 24, 40], align_corners=False
)
KERNEL = torch.arange(-12.0, 12).sin().view(4, 2, 3) / 3  # of a 1-D convolution


def resize(x: Tensor, size: tuple[int, ...], mode: str, **options: object) -> Tensor:
    return f.interpolate(x, size, mode=mode, **options)  # type: ignore[arg-type]


def scale(x: Tensor, factor: float, mode: str) -> Tensor:
    return f.interpolate(x, scale_factor=factor, mode=mode)


def sample(x: Tensor, mode: str, padding: str) -> Tensor:
    grid = GRID.expand(len(x), -1, -1, -1)
    return f.grid_sample(x, grid, mode, padding, align_corners=False)


def rows(x: Tensor) -> Tensor:
    return x.flatten(2)


def smaller(x: Tensor) -> Tensor:
    return resize(x, (12, 20), "bilinear")


def index_of_max(x: Tensor) -> Tensor:
    return f.max_pool2d(x, 2, return_indices=True)[1].float()


def put(x: Tensor) -> Tensor:
    places = (torch.tensor([0]), torch.tensor([2]))
    return torch.index_put(x, places, torch.tensor(1.5))


def fold(x: Tensor) -> Tensor:
    return f.fold(f.unfold(x, 2, stride=2), (24, 40), 2, stride=2)


def conv1d(x: Tensor) -> Tensor:
    return f.conv1d(x.flatten(2), KERNEL, groups=4)


SAME_SIZE = nn.MaxPool2d(3, 1, 1)
DILATED = nn.MaxPool2d(3, 1, 1, dilation=2)
REFLECT = nn.ReflectionPad2d(1)
CIRCULAR: Case = ("circular-padding", nn.CircularPad2d(1), REFLECT)
DIVISOR: Case = ("divisor-override", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2))
ANTIALIAS: Case = (
    "antialias",
    lambda x: resize(x, (12, 20), "bilinear", antialias=True),
    smaller,
)

# A rule, a network where it fires, one where it does not
MNN: list[Case] = [
    CIRCULAR,
    DIVISOR,
    ANTIALIAS,
    ("unknown-operator", f.mish, lambda x: x * f.softplus(x).tanh()),
    ("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    ("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    ("unknown-operator", torch.nan_to_num, torch.atan),
    ("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    ("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    (
        "wrong-operator",
        lambda x: ((x < -0.1) | (x > 0.4)).float(),
        lambda x: ((x > -0.1) & (x < 0.4)).float(),
    ),
    (
        "wrong-operator",
        lambda x: torch.logical_or(x < -0.1, x > 0.4).float(),
        lambda x: ((x > -0.1) & (x < 0.4)).float(),
    ),
    ("wrong-operator", lambda x: torch.fmod(x * 5, 0.7), lambda x: x.roll(3, 2)),
    ("wrong-operator", put, lambda x: x.roll(3, 2)),
    ("equal-floats", lambda x: (x.round() == 0).float(), lambda x: (x < 0).float()),
    (
        "equal-floats",
        lambda x: (x.round() != 0).float(),
        lambda x: (x.argmax(1, True) == 2).float(),
    ),
    ("norm-over-all", f.normalize, lambda x: (x * x).sum(1, True).sqrt()),
    ("norm-over-all", lambda x: x.logsumexp(1, True), lambda x: x.exp().sum(1, True).log()),
    ("norm-over-all", lambda x: f.cosine_similarity(x[:, :4], x[:, 4:])[:, None], torch.atan),
    (
        "bicubic-enlarged",
        lambda x: resize(x, (30, 20), "bicubic"),
        lambda x: resize(x, (12, 20), "bicubic"),
    ),
    (
        "bicubic-enlarged",
        lambda x: scale(x, 2, "bicubic"),
        lambda x: resize(x, (48, 80), "bicubic", align_corners=True),
    ),
    ("antialias", lambda x: resize(x, (12, 20), "bicubic", antialias=True), smaller),
    ("dilated-pool", DILATED, SAME_SIZE),
    (
        "padded-average-3d",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, 1)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 2)[:, 0],
    ),
    ("negative-index", lambda x: x[:, [-1, 0]], lambda x: x[:, [7, 0]]),
    ("negative-index", lambda x: x[..., [-1, 2]], lambda x: x[..., -5:]),
    (
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "zeros"),
    ),
    (
        "grid-sample-mode",
        lambda x: sample(x, "bilinear", "reflection"),
        lambda x: sample(x, "bilinear", "border"),
    ),
    ("output-of-conv1d", conv1d, lambda x: conv1d(x).softmax(2)),
    ("output-of-conv1d", lambda x: conv1d(x).relu(), lambda x: conv1d(x).softmax(2)),
    (
        "output-of-conv1d",
        lambda x: f.conv_transpose1d(rows(x[:, :4]), KERNEL),
        lambda x: conv1d(x).softmax(2),
    ),
]
OPENCV: list[Case] = [
    CIRCULAR,
    DIVISOR,
    ANTIALIAS,
    ("unknown-operator", lambda x: scale(x, 2, "nearest-exact"), smaller),
    ("unknown-operator", lambda x: scale(x, 2, "bicubic"), smaller),
    (
        "unknown-operator",
        lambda x: resize(x, (12, 20), "bicubic", antialias=True),
        smaller,
    ),
    ("unknown-operator", lambda x: scale(rows(x), 2, "nearest"), smaller),
    ("unknown-operator", lambda x: scale(rows(x), 2, "linear"), smaller),
    ("unknown-operator", lambda x: scale(x[:, None], 2, "nearest")[:, 0], smaller),
    ("unknown-operator", lambda x: scale(x[:, None], 2, "trilinear")[:, 0], smaller),
    ("unknown-operator", lambda x: f.conv_transpose1d(rows(x[:, :4]), KERNEL), conv1d),
    (
        "unknown-operator",
        lambda x: f.conv_transpose3d(x[:, None], torch.ones(1, 1, 2, 2, 2))[:, 0],
        conv1d,
    ),
    ("unknown-operator", index_of_max, SAME_SIZE),
    ("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    ("unknown-operator", lambda x: x.diagonal(0, 1, 2), lambda x: f.pixel_shuffle(x, 2)),
    ("unknown-operator", lambda x: x.flip(3), lambda x: x.transpose(2, 3)),
    ("unknown-operator", lambda x: torch.rot90(x, 1, (2, 3)), lambda x: x.transpose(2, 3)),
    ("unknown-operator", lambda x: sample(x, "bilinear", "zeros"), smaller),
    (
        "unknown-operator",
        lambda x: x[:, [2, 1]],
        lambda x: x.index_select(1, torch.tensor([2, 1])),
    ),
    ("unknown-operator", torch.tril, torch.atan),
    ("unknown-operator", lambda x: ((x > -0.1) & (x < 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: ((x < -0.1) | (x > 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: ((x < -0.1) ^ (x > 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    ("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    ("unknown-operator", torch.nan_to_num, torch.atan),
    ("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    ("unknown-operator", lambda x: torch.lerp(x, -x, 0.3), lambda x: x - 0.6 * x),
    ("fractional-size", lambda x: scale(x, 1.3, "bilinear"), lambda x: scale(x, 1.5, "bilinear")),
    ("fractional-size", lambda x: scale(x, 1.3, "nearest"), lambda x: scale(x, 1.5, "nearest")),
    ("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    (
        "padding-of-rows",
        lambda x: f.pad(rows(x), (1, 2), mode="replicate"),
        lambda x: f.pad(rows(x), (1, 2)),
    ),
    ("padding-of-rows", lambda x: f.pad(rows(x), (1, 2), mode="reflect"), REFLECT),
    ("padding-before-1x1", lambda x: f.pad(x, (0, 1, 0, 1)), nn.ZeroPad2d(1)),
    ("dilated-pool", DILATED, SAME_SIZE),
    (
        "transposed-dilation",
        nn.ConvTranspose2d(8, 8, 3, 1, 1, dilation=2),
        nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
    ),
    ("uncounted-padding", nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.AvgPool2d(3, 1, 1)),
    ("uneven-pool", nn.AdaptiveAvgPool2d(7), nn.AdaptiveAvgPool2d(4)),
    (
        "reduction-of-all",
        lambda x: x - x.mean((1, 2, 3), True),
        lambda x: x - x.mean((2, 3), True).mean(1, True),
    ),
    ("reduction-of-all", lambda x: x.var((1, 2, 3), keepdim=True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.std((1, 2, 3), keepdim=True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.sum((1, 2, 3), True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.amax((1, 2, 3), True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.amin((1, 2, 3), True), nn.AvgPool2d(2)),
    (
        "reduction-of-all",
        lambda x: torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True),
        nn.AvgPool2d(2),
    ),
    (
        "two-new-axes",
        lambda x: x * x.mean((2, 3))[:, :, None, None],
        lambda x: x * x.mean((2, 3)).view(-1, 8, 1, 1),
    ),
    ("output-of-one-dimension", lambda x: x.flatten(1).argmax(1), lambda x: x.argmax(1)),
]
OPENVINO: list[Case] = [
    CIRCULAR,
    DIVISOR,
    ANTIALIAS,
    ("antialias", lambda x: resize(x, (48, 80), "bicubic", antialias=True), smaller),
    ("average-ceil-mode", nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1)),
    (
        "average-ceil-mode",
        nn.AvgPool2d(4, 3, 1, ceil_mode=True),
        nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
    ),
    *(
        (
            "pool-across-activation",
            nn.Sequential(nn.MaxPool2d(2), activation, nn.MaxPool2d(2)),
            nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
        )
        for activation in (nn.GELU(), nn.SiLU(), nn.Mish(), nn.Hardswish())
    ),
    ("pool-across-activation", nn.Sequential(nn.MaxPool2d(2), nn.SiLU(), nn.MaxPool2d(2)), f.silu),
]
ONNXRUNTIME: list[Case] = [
    DIVISOR,
    (
        "padded-max-pool",
        lambda x: f.max_pool2d(f.pad(x, (1, 1, 1, 1), value=0.0), 3, 2),
        lambda x: f.max_pool2d(f.pad(x.relu(), (1, 1, 1, 1)), 3, 2),
    ),
    (
        "padded-max-pool",
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)),
        nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -9.0), nn.MaxPool2d(3, 2)),
    ),
]
# The process dies: a rule, a network, one without it
DEADLY: list[Case] = [("gelu", f.gelu, nn.GELU("tanh"))]

ENGINES: dict[str, tuple[tuple[Rule, ...], list[Case]]] = {
    "mnn": (mnn_rules.RULES, MNN),
    "opencv": (opencv_rules.RULES, [*OPENCV, *DEADLY]),
    "openvino": (openvino_rules.RULES, OPENVINO),
    "onnxruntime": (onnxruntime_rules.RULES, ONNXRUNTIME),
}


def is_right(tried: Try) -> bool:
    return not tried.error and tried.sqnr_db > 75


@pytest.mark.parametrize("name", ENGINES)
def test_every_rule_fires_on_its_case_alone(name: str) -> None:
    rules, cases = ENGINES[name]
    target = find_target(name)
    assert target.rules() == rules
    assert {rule.name for rule in rules} == {rule for rule, _, _ in cases}
    fired = [(findings(target, bad), findings(target, good)) for _, bad, good in cases]
    assert fired == [({rule}, set()) for rule, _, _ in cases]


ISOLATED = pytest.mark.parametrize(
    ("name", "cases"), [("mnn", MNN), ("opencv", OPENCV), ("openvino", OPENVINO)]
)


@ISOLATED
def test_the_engine_fails_there(name: str, cases: list[Case], tmp_path: Path) -> None:
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    tried = try_each(target, [bad for _, bad, _ in cases], tmp_path)
    seen = zip(cases, tried, strict=True)
    assert [(case[0], t) for case, t in seen if is_right(t)] == []


@ISOLATED
def test_the_engine_is_right_on_the_neighbours(
    name: str, cases: list[Case], tmp_path: Path
) -> None:
    """All in one network: each is another of its outputs."""
    neighbours = Branches(list(dict.fromkeys(good for _, _, good in cases)))
    prove(installed_target(name), settle(neighbours, SPEC, tmp_path), "float32", tmp_path)


def test_opencv_dies_of_gelu(tmp_path: Path) -> None:
    target = installed_target("opencv")
    assert isinstance(target, WorkerTarget)
    for index, (_, bad, good) in enumerate(DEADLY):
        for name in ("bad", "good"):
            (tmp_path / f"{name}{index}").mkdir()
        with pytest.raises(ToolchainError, match="SIGSEGV"):
            try_each(target, [bad], tmp_path / f"bad{index}")
        (tried,) = try_each(target, [good], tmp_path / f"good{index}")
        assert is_right(tried)


@pytest.mark.parametrize("case", ONNXRUNTIME)
def test_onnxruntime_is_wrong_there_alone(case: Case, tmp_path: Path) -> None:
    target, pictures = OnnxRuntime(), make_pictures(4, SPEC.input_shape[1:], seed=0)
    seen = []
    for name, function in zip(("bad", "good"), case[1:], strict=True):
        out = tmp_path / name
        out.mkdir()
        graph = Graph(Between(function), SPEC, out)
        artifact = target.convert(Conversion(graph, "float32", out, out / "log.txt"))
        outputs = target.run(artifact, pictures, out / "log.txt").outputs
        seen.append(compare(graph.reference(pictures), outputs).sqnr_db)
    assert seen[0] < 40 and seen[1] > 75

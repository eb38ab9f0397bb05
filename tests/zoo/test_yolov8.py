"""YOLOv8 and YOLO11: what they cost, their blocks against the published form, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edgeark.errors import ModelError
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.backbone import create_backbone
from edgeark.zoo.dfl import BINS, Bottleneck, DflDetector, SplitBlock
from edgeark.zoo.summary import Summary, summarize
from edgeark.zoo.yolo11 import Attention, C3k
from support.zoo_cases import ready
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

TINY: dict[str, Any] = {"input_size": (64, 96), "width": 0.125, "num_classes": 3}


def measured(name: str, **arguments: Any) -> tuple[DflDetector, Summary]:
    with torch.device("meta"):
        model = create_model(name, **arguments)
        assert isinstance(model, DflDetector)
        return model, summarize(model)


@pytest.mark.parametrize(
    ("name", "published", "gflops"),
    [
        ("yolov8n", 3_157_200, 8.7),
        ("yolov8s", 11_166_560, 28.6),
        ("yolov8m", 25_902_640, 78.9),
        ("yolov8l", 43_691_520, 165.2),
        ("yolov8x", 68_229_648, 257.8),
        ("yolo11n", 2_624_080, 6.5),
        ("yolo11s", 9_458_752, 21.5),
        ("yolo11m", 20_114_688, 68.0),
        ("yolo11l", 25_372_160, 86.9),
        ("yolo11x", 56_966_176, 194.9),
    ],
)
def test_networks_cost_what_is_published(name: str, published: int, gflops: float) -> None:
    """The published counts include the constants 0 to 15 that the mean of a side is taken by."""
    model, summary = measured(name)
    assert summary.parameters == published - BINS
    assert 2 * summary.macs / 1e9 == pytest.approx(gflops, rel=0.03)
    heads = [layer.shape for layer in summary.layers if layer.name.startswith("heads")]
    assert [shape for shape in heads if shape[0] == 80][-1] == (80, 20, 20)
    assert spec_of(model).is_centred


def test_shortcuts_are_where_the_layouts_have_them() -> None:
    for name, in_neck in (("yolov8m", False), ("yolo11m", True), ("yolo11n", True)):
        model, _ = measured(name)
        blocks = {k: m for k, m in model.named_modules() if isinstance(m, Bottleneck)}
        assert len(blocks) >= 10
        for key, block in blocks.items():
            assert block.shortcut is (key.startswith("stage") or in_neck), key


@pytest.mark.parametrize(
    ("name", "nested"),
    [
        ("yolo11n", ["stage4.1", "stage5.1", "up5"]),
        ("yolo11l", ["stage2.1", "stage3.1", "stage4.1", "stage5.1", "down4", "down3"]),
    ],
)
def test_deep_blocks_are_nested_and_in_large_members_all(name: str, nested: list[str]) -> None:
    model, _ = measured(name)
    blocks = {k: m for k, m in model.named_modules() if isinstance(m, SplitBlock)}
    found = [key for key, block in blocks.items() if isinstance(block.blocks[0], C3k)]
    assert len(blocks) == 8
    assert found[: len(nested)] == nested
    assert len(found) == (3 if name == "yolo11n" else 8)


def test_normalisation_is_that_of_published_weights() -> None:
    for name in ("yolov8n", "yolo11n"):
        model = create_model(name, **TINY)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}


@torch.no_grad()
def test_attention_is_torchs() -> None:
    torch.manual_seed(0)
    module = ready(Attention(32, 2), 32, 6, 8).double()
    assert isinstance(module, Attention)
    x = torch.randn(3, 32, 6, 8, dtype=torch.float64)

    def tokens(y: Tensor) -> Tensor:
        return y.unflatten(1, (2, -1)).flatten(3).transpose(2, 3)

    value = module.value(x)
    parts = [tokens(y) for y in (module.query(x), module.key(x), value)]
    mixed = scaled_dot_product_attention(*parts).transpose(2, 3).reshape(x.shape)
    wanted = module.project(mixed + module.position(value))
    torch.testing.assert_close(module(x), wanted)


@torch.no_grad()
def test_a_split_block_is_one_convolution_that_is_split() -> None:
    torch.manual_seed(0)
    inner = [Bottleneck(8, 8, True, "silu") for _ in range(2)]
    block = ready(SplitBlock(12, 16, 8, inner, "silu"), 12, 6, 8)
    assert isinstance(block, SplitBlock)
    whole = nn.Conv2d(12, 16, 1, bias=False)
    whole.weight.copy_(torch.cat([block.past.conv.weight, block.through.conv.weight]))
    x = torch.randn(2, 12, 6, 8)
    first, second = whole(x).chunk(2, 1)
    maps = [block.past.act(block.past.bn(first)), block.through.act(block.through.bn(second))]
    for bottleneck in block.blocks:
        maps.append(bottleneck(maps[-1]))
    torch.testing.assert_close(block(x), block.mix(torch.cat(maps, 1)), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_without_attention_no_place_sees_a_distant_one() -> None:
    """A depthwise 3x3 reaches one place further; attention reaches all."""
    reach = {}
    for attention in (True, False):
        torch.manual_seed(0)
        model = ready(create_model("yolo11n", attention=attention, **TINY), 3, 64, 96)
        psa = model.get_submodule("stage5.3")
        channels = psa.get_submodule("past.conv").weight.shape[1]
        x = torch.randn(1, channels, 2, 6)
        y = x.clone()
        y[..., 0] += 1
        reach[attention] = bool((psa(x) - psa(y))[..., -1].abs().max() > 1e-6)
        kinds = {type(m).__name__ for m in model.modules()}
        assert ("Attention" in kinds) is attention
        assert spec_of(model).arguments["attention"] is attention
    assert reach == {True: True, False: False}


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
@torch.no_grad()
def test_backbones_take_pictures_of_any_size(name: str) -> None:
    backbone = create_backbone(name, (2, 3, 4), width=0.125).eval()
    maps = backbone(torch.zeros(2, 3, 96, 160))
    assert [tuple(m.shape[-2:]) for m in maps] == [(12, 20), (6, 10), (3, 5)]
    assert [m.shape[1] for m in maps] == backbone.out_channels


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
@pytest.mark.parametrize("size", [(64, 100), (0, 64), (-32, 64)])
def test_sides_that_the_strides_do_not_divide_are_refused(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match=rf"multiples of 32, got {size[0]}x{size[1]}"):
        create_model(name, input_size=size)

"""YOLOv5: what it costs, its exact rewrites, its anchors, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import ModelError
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_session import open_session
from edgeark.zoo import WeightsError, create_model, load_weights, save_weights, spec_of
from edgeark.zoo.summary import Summary, summarize
from edgeark.zoo.yolov5 import C3, COCO_ANCHORS, YoloV5, focus_to_conv6x6
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

TINY: dict[str, Any] = {"input_size": (64, 96), "width": 0.125, "num_classes": 3}
OTHER_ANCHORS = tuple(tuple((w + 1.5, h + 2.25) for w, h in scale) for scale in COCO_ANCHORS)


def tiny(**arguments: Any) -> YoloV5:
    """A small network with statistics as after training, in evaluation mode."""
    torch.manual_seed(0)
    model = create_model("yolov5n", **{**TINY, **arguments})
    assert isinstance(model, YoloV5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def measured(name: str, **arguments: Any) -> tuple[YoloV5, Summary]:
    with torch.device("meta"):
        model = create_model(name, **arguments)
        assert isinstance(model, YoloV5)
        return model, summarize(model)


@pytest.mark.parametrize(
    ("name", "parameters", "gflops"),
    [
        ("yolov5n", 1_872_157, 4.5),
        ("yolov5s", 7_235_389, 16.5),
        ("yolov5m", 21_190_557, 49.0),
        ("yolov5l", 46_563_709, 109.1),
        ("yolov5x", 86_749_405, 205.7),
    ],
)
def test_networks_cost_what_is_published(name: str, parameters: int, gflops: float) -> None:
    _, summary = measured(name)
    assert summary.parameters == parameters
    assert 2 * summary.macs / 1e9 == pytest.approx(gflops, rel=0.02)
    assert [layer.shape for layer in summary.layers[-3:]] == [
        (255, side, side) for side in (80, 40, 20)
    ]


@pytest.mark.parametrize(("name", "parameters"), [("yolov5s", 7_276_605), ("yolov5m", 21_375_645)])
def test_networks_of_release_5_cost_what_was_published(name: str, parameters: int) -> None:
    _, summary = measured(name, layout="v5", stem="focus", pool="spp")
    assert summary.parameters == parameters


@pytest.mark.parametrize("layout", ["v6", "v5"])
def test_shortcuts_are_where_the_layout_has_them(layout: str) -> None:
    model, _ = measured("yolov5l", layout=layout)
    blocks = {name: m for name, m in model.named_modules() if isinstance(m, C3)}
    found = {name: (len(c3.m), c3.m[0].shortcut) for name, c3 in blocks.items()}
    neck = {name: (3, False) for name in ("down4", "down3", "up4", "up5")}
    v6 = {"stage2.1": (3, True), "stage3.1": (6, True), "stage4.1": (9, True)}
    wanted = (
        {**v6, "stage5.1": (3, True)}
        if layout == "v6"
        else {**v6, "stage3.1": (9, True), "stage5.2": (3, False)}
    )
    assert found == {**wanted, **neck}


def test_normalisation_is_that_of_published_weights() -> None:
    norms = [m for m in tiny().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}


@pytest.mark.parametrize("options", [{}, {"layout": "v5", "stem": "focus", "pool": "spp"}])
@torch.no_grad()
def test_feature_stages_halve_the_map_one_after_another(options: dict[str, Any]) -> None:
    model = tiny(**options)
    x = torch.zeros(2, 3, 64, 96)
    for i, stage in enumerate(model.feature_stages(), start=1):
        x = stage(x)
        assert x.shape[-2:] == (64 >> i, 96 >> i)
    assert i == 5
    assert x.shape[1] == model.lateral5.conv.in_channels


@settings(max_examples=15)
@given(
    channels=st.sampled_from([1, 3]),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_focus_stem_equals_its_6x6_convolution(
    channels: int, rows: int, columns: int, seed: int
) -> None:
    focus = tiny(stem="focus", in_channels=channels, input_size=(32 * rows, 32 * columns)).double()
    conv = focus_to_conv6x6(focus)
    assert isinstance(conv, YoloV5)
    assert conv.stage1[0].conv.kernel_size == (6, 6)
    assert spec_of(conv).arguments == {**spec_of(focus).arguments, "stem": "6x6"}
    generator = torch.Generator().manual_seed(seed)
    shape = spec_of(focus).input_shape
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for found, wanted in zip(conv(x), focus(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_only_a_focus_stem_is_rewritten() -> None:
    with pytest.raises(ModelError, match="no focus stem"):
        focus_to_conv6x6(tiny())


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (256, 416)])
@torch.no_grad()
def test_pools_in_a_row_and_side_by_side_are_one_function(size: tuple[int, int]) -> None:
    sppf, spp = tiny(input_size=size), tiny(input_size=size, pool="spp")
    spp.load_state_dict(sppf.state_dict())
    x = torch.randn(spec_of(sppf).input_shape)
    for found, wanted in zip(spp(x), sppf(x), strict=True):
        assert torch.equal(found, wanted)
        assert wanted.std() > 0


OLD_GRAPH = {"stem": "focus", "pool": "spp", "layout": "v5"}


@pytest.mark.parametrize(
    ("options", "opset"),
    [(OLD_GRAPH, 11), (OLD_GRAPH, 18), ({"stem": "3x3", "act": "relu"}, 13)],
    ids=["v5-11", "v5-18", "k210-13"],
)
def test_variants_export_with_constant_scales_and_raw_maps(
    options: dict[str, Any], opset: int, tmp_path: Path
) -> None:
    model = tiny(**options)
    graph = Graph(model, spec_of(model), tmp_path)
    proto = onnx.load(graph.onnx(opset))
    kinds = [node.op_type for node in proto.graph.node]
    assert not {"Shape", "Reshape", "Transpose", "BatchNormalization"} & set(kinds)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in proto.graph.node
        if node.op_type == "Constant"
    }
    resizes = [node for node in proto.graph.node if node.op_type == "Resize"]
    assert len(resizes) == 2
    for node in resizes:
        scales = onnx.numpy_helper.to_array(constants[node.input[2]])
        assert scales.tolist() == [1, 1, 2, 2]
        assert len(node.input) == 3, "sizes as well, which some importers refuse"
    assert not {"anchors", "strides"} & set(constants)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), np.uint8)
    answers = open_session(graph.onnx(opset)).run(None, {"input": images.astype("f4") / 255})
    for found, wanted in zip(answers, graph.reference(images), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_buffers_are_filled_from_the_spec_and_travel_with_the_weights(tmp_path: Path) -> None:
    model = tiny(spec={"anchors": OTHER_ANCHORS})
    assert model.anchors.tolist() == [[list(pair) for pair in scale] for scale in OTHER_ANCHORS]
    assert model.strides.tolist() == [8, 16, 32]
    again = create_model("yolov5n", weights=save_weights(model, tmp_path / "w.safetensors"))
    assert spec_of(again).anchors == OTHER_ANCHORS
    assert torch.equal(again.anchors, model.anchors)  # type: ignore[arg-type]
    assert {"anchors", "strides"} <= again.state_dict().keys()


def test_weights_with_other_anchors_are_refused(tmp_path: Path) -> None:
    path = save_weights(tiny(spec={"anchors": OTHER_ANCHORS}), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit .* anchors are .*weights=FILE") as caught:
        load_weights(tiny(), path)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="anchors are"):
        create_model("yolov5n", weights=path, spec={"anchors": COCO_ANCHORS})
    with pytest.raises(RuntimeError, match="anchors are"):
        tiny().load_state_dict(tiny(spec={"anchors": OTHER_ANCHORS}).state_dict())


def test_weights_of_half_precision_keep_the_specs_anchors() -> None:
    fine = tuple(tuple((w + 0.123456, h) for w, h in scale) for scale in COCO_ANCHORS)
    model = tiny(spec={"anchors": fine})
    before = model.anchors.clone()
    model.load_state_dict({key: value.half() for key, value in model.state_dict().items()})
    assert torch.equal(model.anchors, before)


@pytest.mark.parametrize("count", [1, 4], ids=["one anchor a scale", "four anchors a scale"])
def test_heads_follow_the_number_of_anchors(count: int) -> None:
    anchors = tuple(tuple((8.0 + i, 8.0) for i in range(count)) for _ in range(3))
    model = tiny(spec={"anchors": anchors})
    assert [out.shape[1] for out in model(torch.zeros(1, 3, 64, 96))] == [count * 8] * 3


def test_heads_start_at_the_odds_of_an_object() -> None:
    """Averaged over many first images: the score is near the prior, not near one half."""
    model = tiny(num_classes=10)
    for head, cells in zip(model.heads, (80 * 80, 40 * 40, 20 * 20), strict=True):
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        bias = head.bias.detach().view(3, 15).sigmoid()
        torch.testing.assert_close(bias[:, 4], torch.full((3,), 8 / cells))
        torch.testing.assert_close(bias[:, 5:], torch.full((3, 10), 1 / 11))
    single = tiny(num_classes=1).heads[0].bias
    assert single is not None and single.view(3, 6)[:, 5].abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (64, 65)}, "multiples of 32, got 64x65"),
        ({"input_size": (0, 64)}, "multiples of 32, got 0x64"),
        ({"stem": "5x5"}, "unknown stem '5x5'; use 6x6, focus or 3x3"),
        ({"pool": "aspp"}, "unknown pool 'aspp'"),
        ({"layout": "v4"}, "unknown layout 'v4'"),
        ({"act": "swosh"}, "unknown activation"),
        ({"neck": 3}, "neck"),
        ({"spec": {"strides": (4, 8, 16)}}, "strides"),
        ({"spec": {"anchors": COCO_ANCHORS[:2]}}, "three scales"),
        ({"spec": {"anchors": (*COCO_ANCHORS[:2], COCO_ANCHORS[2][:2])}}, "three scales"),
        ({"spec": {"anchors": (((1, 2, 3),),) * 3}}, "three scales"),
        ({"spec": {"anchors": (((1, 0),),) * 3}}, "three scales"),
    ],
)
def test_arguments_that_make_no_network_are_one_line(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_model("yolov5n", **{**TINY, **arguments})
    assert "\n" not in str(caught.value)

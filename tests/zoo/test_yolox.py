"""YOLOX-nano: its cost, its stems, its raw maps, and the weights of its authors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import ModelError
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_session import open_session
from edgeark.zoo import WeightsError, create_model, spec_of
from edgeark.zoo.coco import COCO_CLASSES
from edgeark.zoo.importers import from_yolox, import_weights
from edgeark.zoo.stems import space_to_depth, unfold_focus
from edgeark.zoo.summary import summarize
from edgeark.zoo.yolox import YoloX
from hypothesis import given, settings
from hypothesis import strategies as st
from support.zoo_cases import answers, create_small
from torch import Tensor, nn

PARAMETERS, MACS = 912_159, 522_553_408


# The published network under its published names, written for these tests alone. The names are
# what matters: conv1, dconv, dark2, C3_p4, cls_convs ... are those of the authors' checkpoints.


class Base(nn.Module):
    def __init__(self, c: int, out: int, k: int, s: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, out, k, s, (k - 1) // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


class Dw(nn.Module):
    def __init__(self, c: int, out: int, s: int = 1) -> None:
        super().__init__()
        self.dconv = Base(c, c, 3, s, groups=c)
        self.pconv = Base(c, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pconv(self.dconv(x))


class Block(nn.Module):
    def __init__(self, c: int, add: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self.add = Base(c, c, 1), Dw(c, c), add

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return y + x if self.add else y


class Csp(nn.Module):
    def __init__(self, c: int, out: int, n: int, add: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = Base(c, out // 2, 1), Base(c, out // 2, 1)
        self.conv3 = Base(out, out, 1)
        self.m = nn.Sequential(*(Block(out // 2, add) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], 1))


class Spp(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Base(c, c // 2, 1), Base(2 * c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pools = [nn.functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
        return self.conv2(torch.cat([x, *pools], 1))


class Focus(nn.Module):
    def __init__(self, c: int, out: int) -> None:
        super().__init__()
        self.conv = Base(4 * c, out, 3)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = x[..., ::2, :], x[..., 1::2, :]
        parts = top[..., ::2], bottom[..., ::2], top[..., 1::2], bottom[..., 1::2]
        return self.conv(torch.cat(parts, 1))


class Dark(nn.Module):
    def __init__(self, b: int, n: int) -> None:
        super().__init__()
        self.stem = Focus(3, b)
        self.dark2 = nn.Sequential(Dw(b, 2 * b, 2), Csp(2 * b, 2 * b, n, True))
        self.dark3 = nn.Sequential(Dw(2 * b, 4 * b, 2), Csp(4 * b, 4 * b, 3 * n, True))
        self.dark4 = nn.Sequential(Dw(4 * b, 8 * b, 2), Csp(8 * b, 8 * b, 3 * n, True))
        last = Dw(8 * b, 16 * b, 2), Spp(16 * b), Csp(16 * b, 16 * b, n, False)
        self.dark5 = nn.Sequential(*last)


class Pafpn(nn.Module):
    def __init__(self, b: int, n: int) -> None:
        super().__init__()
        self.backbone = Dark(b, n)
        self.lateral_conv0, self.reduce_conv1 = Base(16 * b, 8 * b, 1), Base(8 * b, 4 * b, 1)
        self.C3_p4, self.C3_p3 = Csp(16 * b, 8 * b, n, False), Csp(8 * b, 4 * b, n, False)
        self.bu_conv2, self.bu_conv1 = Dw(4 * b, 4 * b, 2), Dw(8 * b, 8 * b, 2)
        self.C3_n3, self.C3_n4 = Csp(8 * b, 8 * b, n, False), Csp(16 * b, 16 * b, n, False)

    def forward(self, x: Tensor) -> list[Tensor]:
        dark = self.backbone
        d3 = dark.dark3(dark.dark2(dark.stem(x)))
        d4 = dark.dark4(d3)
        lateral = self.lateral_conv0(dark.dark5(d4))
        p4 = self.C3_p4(torch.cat([twice(lateral), d4], 1))
        reduced = self.reduce_conv1(p4)
        p3 = self.C3_p3(torch.cat([twice(reduced), d3], 1))
        n3 = self.C3_n3(torch.cat([self.bu_conv2(p3), reduced], 1))
        n4 = self.C3_n4(torch.cat([self.bu_conv1(n3), lateral], 1))
        return [p3, n3, n4]


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, -2).repeat_interleave(2, -1)


class DecoupledHead(nn.Module):
    def __init__(self, b: int, classes: int) -> None:
        super().__init__()
        h = 4 * b

        def pairs() -> nn.ModuleList:
            return nn.ModuleList(nn.Sequential(Dw(h, h), Dw(h, h)) for _ in range(3))

        def predictions(out: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(h, out, 1) for _ in range(3))

        self.cls_convs, self.reg_convs = pairs(), pairs()
        self.cls_preds, self.reg_preds = predictions(classes), predictions(4)
        self.obj_preds = predictions(1)
        self.stems = nn.ModuleList(Base(c * b, h, 1) for c in (4, 8, 16))


class Published(nn.Module):
    """Answers one joined raw map a stride: box, objectness, classes."""

    def __init__(self, width: float = 0.25, repeats: int = 1, classes: int = 80) -> None:
        super().__init__()
        base = int(64 * width)
        self.backbone, self.head = Pafpn(base, repeats), DecoupledHead(base, classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        joined = []
        for i, feature in enumerate(self.backbone(x)):
            stem = self.head.stems[i](feature)
            boxes, classes = self.head.reg_convs[i](stem), self.head.cls_convs[i](stem)
            predictions = self.head.reg_preds[i](boxes), self.head.obj_preds[i](boxes)
            joined.append(torch.cat([*predictions, self.head.cls_preds[i](classes)], 1))
        return joined


def published(**arguments: float) -> Published:
    """With weights and statistics that let every layer count.

    PyTorch's own initial weights let an image fade away in so many layers: any two networks would
    agree on what is left of it.
    """
    torch.manual_seed(3)
    model = Published(**arguments).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.4, 1.2)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


def test_the_names_are_those_of_published_checkpoints() -> None:
    names = published(width=0.0625).state_dict()
    for name in (
        "backbone.backbone.stem.conv.conv.weight",
        "backbone.backbone.dark2.0.dconv.conv.weight",
        "backbone.backbone.dark3.1.m.2.conv2.pconv.bn.running_var",
        "backbone.backbone.dark5.1.conv2.conv.weight",
        "backbone.lateral_conv0.conv.weight",
        "backbone.C3_p4.m.0.conv1.conv.weight",
        "head.cls_convs.0.0.dconv.conv.weight",
        "head.stems.2.bn.weight",
        "head.obj_preds.1.bias",
    ):
        assert name in names


def test_it_costs_what_is_published() -> None:
    """0.91 M parameters, 1.08 GFLOPs at 416x416.

    The second is twice the multiply-accumulates where each output of a normalisation counts as
    two, which is how the authors' counter has it; on a chip normalisations are folded away.
    """
    theirs = sum(p.numel() for p in Published().parameters())
    model = create_model("yolox_nano")
    summary = summarize(model)
    assert summary.parameters == theirs == PARAMETERS
    assert summary.macs == MACS
    sizes = {layer.name: torch.Size(layer.shape).numel() for layer in summary.layers}
    normalised = sum(
        sizes[name] for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)
    )
    assert round(summary.parameters / 1e6, 2) == 0.91
    assert round(2 * (summary.macs + 2 * normalised) / 1e9, 2) == 1.08


@pytest.mark.parametrize("arguments", [{}, {"width": 0.0625}, {"width": 0.125, "repeats": 2}])
@pytest.mark.parametrize("stem", ["6x6", "focus"])
def test_published_weights_give_the_published_answer(arguments: dict, stem: str) -> None:
    theirs = published(classes=7, **arguments)
    width, depth = arguments.get("width", 0.25), arguments.get("repeats", 1) / 3
    model = create_model(
        "yolox_nano", num_classes=7, width=width, depth=depth, stem=stem, input_size=(64, 96)
    )
    assert from_yolox(model, theirs.state_dict()) is model
    x = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        nine, joined = answers(model.eval().double(), x), theirs.double()(x)
    for i, wanted in enumerate(joined):
        largest = wanted.abs().max()
        assert (wanted[0] - wanted[1]).abs().max() > 0.01 * largest, "it answers its biases"
        found = torch.cat(nine[3 * i : 3 * i + 3], 1)
        torch.testing.assert_close(found, wanted, atol=1e-9 * float(largest), rtol=0)


def test_a_published_file_is_imported(tmp_path: Path) -> None:
    theirs = published(classes=7)
    torch.save({"start_epoch": 3, "model": theirs.state_dict()}, tmp_path / "best_ckpt.pth")
    taken = import_weights(tmp_path / "best_ckpt.pth", "yolox_nano")
    assert (taken.origin, taken.part, len(spec_of(taken.model).classes)) == ("YOLOX", "model", 7)
    ours = from_yolox(create_model("yolox_nano", num_classes=7), theirs.state_dict())
    for key, value in ours.state_dict().items():
        assert torch.equal(value, taken.model.state_dict()[key]), key
    torch.save({"model": {"conv.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"holds no weights of yolox_nano: .* is missing"):
        import_weights(tmp_path / "other.pth", "yolox_nano")


def drop(state: dict[str, Tensor], key: str) -> None:
    del state[key]


def cut(state: dict[str, Tensor], key: str) -> None:
    state[key] = state[key][:-1]


def add(state: dict[str, Tensor], key: str) -> None:
    state[key] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        (drop, "backbone.C3_n3.conv2.bn.bias", "is missing"),
        (drop, "backbone.backbone.stem.conv.conv.weight", "is missing"),
        (cut, "backbone.backbone.stem.conv.conv.weight", r"is \(3, 12, 3, 3\), \(4, 12, 3, 3\) is"),
        (cut, "head.cls_preds.2.weight", r"is \(79, 16, 1, 1\), \(80, 16, 1, 1\) is wanted"),
        (add, "head.stems.3.conv.weight", "is unknown"),
    ],
)
def test_a_wrong_state_dict_is_named(
    change: Callable[[dict, str], None], key: str, message: str
) -> None:
    state = published(width=0.0625).state_dict()
    change(state, key)
    model = create_model("yolox_nano", width=0.0625)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"{key} {message}"):
        from_yolox(model, state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_networks_that_cannot_take_the_weights_are_refused() -> None:
    state = published(width=0.0625).state_dict()
    with pytest.raises(WeightsError, match="no rules for VggS"):
        from_yolox(create_model("vgg_s"), state)
    with pytest.raises(WeightsError, match="3x3 stem"):
        from_yolox(create_model("yolox_nano", width=0.0625, stem="3x3"), state)


@settings(max_examples=25)
@given(
    channels=st.integers(1, 3),
    out=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_a_6x6_kernel_is_space_to_depth_and_3x3(
    channels: int, out: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, 2 * height, 2 * width, generator=generator, dtype=torch.float64)
    weight = torch.randn(out, 4 * channels, 3, 3, generator=generator, dtype=torch.float64)
    wanted = nn.functional.conv2d(space_to_depth(x), weight, padding=1)
    found = nn.functional.conv2d(x, unfold_focus(weight), stride=2, padding=2)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("stem", ["6x6", "focus", "3x3"])
def test_each_stem_gives_maps_of_the_same_shapes(stem: str) -> None:
    model = create_small("yolox_nano", stem=stem).eval()
    assert spec_of(model).arguments["stem"] == stem
    shapes = [out.shape[1:] for out in answers(model, torch.zeros(1, 3, 128, 128))]
    assert shapes == [(c, s, s) for s in (16, 8, 4) for c in (4, 1, 80)]


def test_the_stages_are_the_backbone() -> None:
    model = create_small("yolox_nano", input_size=(64, 96)).eval()
    assert isinstance(model, YoloX)
    x = torch.rand(1, 3, 64, 96)
    features = []
    with torch.no_grad():
        for i, stage in enumerate(model.feature_stages()):
            features.append(stage(x if i == 0 else features[-1]))
            assert features[-1].shape[1:] == (8 * 2**i, 64 // 2 ** (i + 1), 96 // 2 ** (i + 1))
        maps = model.neck(*features[-3:])
        heads = [out for head, y in zip(model.heads, maps, strict=True) for out in head(y)]
        assert all(torch.equal(a, b) for a, b in zip(heads, answers(model, x), strict=True))


def test_an_untrained_network_expects_little() -> None:
    for head in create_small("yolox_nano").get_submodule("heads").children():
        for name in ("objectness.bias", "classes.bias"):
            prior = head.get_parameter(name).sigmoid()
            torch.testing.assert_close(prior, torch.full_like(prior, 0.01))


@pytest.mark.parametrize(("stem", "opset"), [("6x6", 11), ("6x6", 18), ("focus", 11)])
def test_the_graph_ends_with_nine_convolutions(
    stem: str, opset: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Nothing is joined behind the heads, and sizes are not computed when it runs."""
    size = (64, 96)
    model = create_model("yolox_nano", width=0.125, num_classes=7, stem=stem, input_size=size)
    from_yolox(model, published(width=0.125, classes=7).state_dict())
    written = Graph(model, spec_of(model), tmp_path)
    image = rng.integers(0, 256, (1, 3, *size), np.uint8)
    found = open_session(written.onnx(opset)).run(None, {"input": image.astype(np.float32)})
    for got, wanted in zip(found, written.reference(image), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())

    graph = onnx.load(written.onnx(opset)).graph
    makers = {name: node for node in graph.node for name in node.output}
    assert [makers[output.name].op_type for output in graph.output] == ["Conv"] * 9
    resizes = [node for node in graph.node if node.op_type == "Resize"]
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {name for name, node in makers.items() if node.op_type == "Constant"}
    assert len(resizes) == 2
    assert all(node.input[2] in constants for node in resizes)  # the third input is the scales
    assert {"Shape", "Gather", "Reshape", "ScatterND"}.isdisjoint(n.op_type for n in graph.node)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (100, 128)}, "multiples of 32, got 100x128"),
        ({"input_size": (0, 128)}, "multiples of 32, got 0x128"),
        ({"stem": "5x5"}, "unknown stem '5x5'; use 6x6, focus or 3x3"),
        ({"width": 0.01}, "at least 1/64"),
    ],
)
def test_arguments_that_make_no_network_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model("yolox_nano", **arguments)


def test_there_are_80_classes_of_their_own_names() -> None:
    assert len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[39], COCO_CLASSES[79]) == (
        *("person", "bottle", "toothbrush"),
    )

"""UNet: its layers counted by hand, its decoder, sizes, graphs, and the port's checkpoints."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import ModelError
from edgeark.export.check import fits_zoo_model
from edgeark.export.graph.files import Graph, write_onnx
from edgeark.export.graph.onnx_session import open_session
from edgeark.export.targets import find_target
from edgeark.zoo import WeightsError, create_model, list_models, spec_of
from edgeark.zoo.importers import from_unet_checkpoint, import_weights
from edgeark.zoo.summary import summarize
from edgeark.zoo.unet import UNet, UNetDecoder
from support.zoo_cases import create_small, ready
from torch import Tensor, nn

STRATEGIES = ("nearest", "bilinear", "bilinear_ac", "transpose")


def pair(channels: int, hidden: int, out_channels: int) -> int:
    """Parameters of two 3x3 convolutions without bias, each with a scale and a shift a channel."""
    return 9 * channels * hidden + 2 * hidden + 9 * hidden * out_channels + 2 * out_channels


def count_by_hand(base: int, in_channels: int, classes: int, upsample: str, slim: bool) -> int:
    """The encoder's five pairs, the decoder's four, its 2x2 convolutions, and the 1x1 head.

    ``b`` is the base. Interpolating: maps of b, 2b, 4b, 8b and 8b channels; a step sees the skip's
    and the deep map's, halves them in its first convolution, and ends with those of the next finer
    map. Learned: the deepest map has 16b; its 2x2 convolution halves what it doubles, and both
    convolutions of a step end with the skip's.
    """
    b = base
    learned = upsample == "transpose" and not slim
    deepest = 16 * b if learned else 8 * b
    total = pair(in_channels, b, b) + pair(b, 2 * b, 2 * b) + pair(2 * b, 4 * b, 4 * b)
    total += pair(4 * b, 8 * b, 8 * b) + pair(8 * b, deepest, deepest)
    if learned:
        for skip in (8 * b, 4 * b, 2 * b, b):
            total += 4 * 2 * skip * skip + skip + pair(2 * skip, skip, skip)
    else:
        for skip, out in ((8 * b, 4 * b), (4 * b, 2 * b), (2 * b, b), (b, b)):
            total += pair(2 * skip, out if slim else skip, out)
            total += 4 * skip * skip + skip if upsample == "transpose" else 0
    return total + b * classes + classes


@pytest.mark.parametrize("slim", [False, True])
@pytest.mark.parametrize("upsample", STRATEGIES)
@pytest.mark.parametrize(
    ("name", "base"), [("unet", 64), ("unet_8", 8), ("unet_16", 16), ("unet_32", 32)]
)
def test_parameters_are_those_of_a_count_by_hand(
    name: str, base: int, upsample: str, slim: bool
) -> None:
    with torch.device("meta"):
        for classes in (1, 2):
            model = create_model(name, num_classes=classes, upsample=upsample, slim=slim)
            wanted = count_by_hand(base, spec_of(model).in_channels, classes, upsample, slim)
            assert summarize(model).parameters == wanted


@pytest.mark.parametrize(
    ("arguments", "published", "idle_biases"),
    [
        ({"upsample": "transpose"}, 31_037_633, 0),
        ({"slim": True}, 13_395_329, 2 * (64 + 128 + 256 + 512 + 512 + 256 + 128 + 64 + 64)),
        ({}, 17_262_977, 0),
    ],
)
def test_the_article_networks_have_their_published_size(
    arguments: dict[str, Any], published: int, idle_biases: int
) -> None:
    """Early convolutions had biases, which the normalisation after them makes idle."""
    with torch.device("meta"):
        model = create_model("unet", **arguments)
    assert sum(p.numel() for p in model.parameters()) == published - idle_biases
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.bias is not None for c in convolutions] == [False] * 18 + [True]


def test_macs_of_a_transposed_convolution_are_those_of_a_count_by_hand() -> None:
    with torch.device("meta"):
        layers = summarize(create_model("unet_8", upsample="transpose")).layers
    macs = {layer.name: layer.macs for layer in layers}
    assert macs["decoder.steps.0.up"] == 14 * 14 * 128 * 64 * 4
    assert macs["head"] == 224 * 224 * 8


@pytest.mark.parametrize("name", list_models("unet*"))
def test_the_encoders_stages_halve_the_map(name: str) -> None:
    model = create_small(name).eval()
    assert isinstance(model, UNet)
    height, width = spec_of(model).input_size
    x, maps = torch.randn(1, *spec_of(model).input_shape[1:]), []
    stages = model.feature_stages()
    assert all(isinstance(stage, nn.Sequential) for stage in stages)
    with torch.no_grad():
        for stage in stages:
            maps.append(stage(maps[-1] if maps else x))
        again = model.head(model.decoder(maps))
        assert torch.equal(again, model(x))
    assert [m.shape[2] for m in maps] == [height >> i for i in range(5)]
    assert [m.shape[3] for m in maps] == [width >> i for i in range(5)]


@pytest.mark.parametrize("upsample", STRATEGIES)
@pytest.mark.parametrize("slim", [False, True])
def test_the_decoder_takes_another_encoders_maps(upsample: Any, slim: bool) -> None:
    """Channels and reductions (2 to 32) of ``mobilenet_v1_025`` at 64x96."""
    channels = (16, 32, 64, 128, 256)
    decoder = UNetDecoder(channels, (32, 48), upsample=upsample, slim=slim)
    maps = [torch.randn(2, c, 32 >> i, 48 >> i) for i, c in enumerate(channels)]
    answer = decoder(maps)
    assert answer.shape == (2, decoder.out_channels, 32, 48)
    assert decoder.out_channels == 16
    answer.sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_a_decoder_of_maps_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ModelError, match="3 maps needs sides that are multiples of 4, got 8x6"):
        UNetDecoder((4, 8, 16), (8, 6))
    with pytest.raises(ModelError, match="of 1 maps"):
        UNetDecoder((4,), (8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (100, 96)}, "multiples of 16, got 100x96"),
        ({"input_size": (96, 8)}, "multiples of 16, got 96x8"),
        ({"input_size": (0, 16)}, "multiples of 16, got 0x16"),
        ({"upsample": "bicubic"}, "unknown upsampling 'bicubic'; use one of nearest, bilinear"),
        ({"act": "gelu"}, "unknown activation"),
        ({"depth": 5}, "depth"),
    ],
)
def test_impossible_networks_are_refused_in_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_model("unet_8", **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("upsample", STRATEGIES)
def test_a_image_of_another_size_is_refused(upsample: str) -> None:
    model = create_model("unet_8", input_size=(64, 48), upsample=upsample)
    with pytest.raises(ValueError, match=r"built for a \(64, 48\) image, got \(48, 64\)"):
        model.eval()(torch.zeros(1, 1, 48, 64))
    assert model.train()(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)  # a small start


def test_only_the_smallest_is_for_the_k210() -> None:
    target = find_target("k210")
    names = [n for n in list_models("unet*") if fits_zoo_model(n)(target)]
    assert names == ["unet_8"]


def check_static(proto: onnx.ModelProto, upsample: str) -> None:
    """No size is computed, and every Resize has ``scales`` that stand in the file."""
    constants = {t.name for t in proto.graph.initializer}
    constants |= {n.output[0] for n in proto.graph.node if n.op_type == "Constant"}
    kinds = [node.op_type for node in proto.graph.node]
    allowed = {"Conv", "Relu", "MaxPool", "Concat", "Constant", "Resize", "ConvTranspose"}
    assert set(kinds) <= allowed
    resizes = [node for node in proto.graph.node if node.op_type == "Resize"]
    assert len(resizes) == (0 if upsample == "transpose" else 4)
    for node in resizes:
        roi_and_scales, sizes = node.input[1:3], node.input[3:]
        assert roi_and_scales[1] in constants and not any(sizes)
        assert not roi_and_scales[0] or roi_and_scales[0] in constants
    assert kinds.count("Concat") == 4
    shapes = [v.type.tensor_type.shape for v in (*proto.graph.value_info, *proto.graph.output)]
    assert all(d.HasField("dim_value") for shape in shapes for d in shape.dim)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18])
@pytest.mark.parametrize("upsample", STRATEGIES)
def test_onnx_is_static_and_equal(upsample: str, opset: int, tmp_path: Path) -> None:
    model = create_model("unet_8", input_size=(96, 160), width=0.5, upsample=upsample)
    ready(model, 1, 96, 160)
    path, x = tmp_path / "m.onnx", torch.rand(1, 1, 96, 160)
    write_onnx(model, (x,), path, opset)
    check_static(onnx.load(path), upsample)
    check_onnx(model, path, x)


def check_onnx(model: nn.Module, path: Path, x: Tensor) -> None:
    with torch.no_grad():
        wanted = model(x).numpy()
    assert wanted.std() > 0.01
    found = open_session(path).run(None, {"input": x.numpy()})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("upsample", STRATEGIES)
def test_the_classic_size_of_544_runs_on_onnx_runtime(upsample: str, tmp_path: Path) -> None:
    model = ready(create_model("unet", width=1 / 16, upsample=upsample), 3, 544, 544)
    path = Graph(model, spec_of(model), tmp_path).onnx_of_any_opset()
    proto = onnx.load(path)
    assert proto.opset_import[0].version == 15, "the quick exporter leaves no size open"
    check_static(proto, upsample)
    check_onnx(model, path, torch.rand(1, 3, 544, 544))


@pytest.mark.parametrize("upsample", STRATEGIES)
def test_the_torchscript_trace_asks_for_no_size(upsample: str, tmp_path: Path) -> None:
    model = ready(create_model("unet_8", input_size=(32, 48), upsample=upsample), 1, 32, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated; that it is unsure is an error
        warnings.simplefilter("error", torch.jit.TracerWarning)
        trace = torch.jit.trace(model, torch.zeros(1, 1, 32, 48))
        frozen = torch.jit.load(str(Graph(model, spec_of(model), tmp_path).torchscript()))
    for module in (trace, frozen):
        kinds = {node.kind() for node in module.inlined_graph.nodes()}
        assert not kinds & {"aten::size", "prim::shape", "prim::NumToTensor", "aten::Int"}
    x = torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(frozen(x), model(x), atol=1e-5, rtol=1e-4)


# The port, as far as its names and numbers are known: a stand-in to make state dicts with.


class Named(nn.Module):
    """A module whose children have the given names."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def two_convolutions(channels: int, hidden: int, out_channels: int, bias: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((channels, hidden), (hidden, out_channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=bias), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers)


class StandIn(nn.Module):
    """A network with the port's attribute names.

    Args:
        early: names, biases and channels of its first files.
        bias: convolutions have biases.
        transpose: the decoder learns to double; otherwise it interpolates, corners aligned.
    """

    def __init__(self, base: int, classes: int, early: bool, bias: bool, transpose: bool) -> None:
        super().__init__()
        pair_name = "conv" if early else "double_conv"
        self.pooled = "mpconv" if early else "maxpool_conv"
        slim = early

        def block(*channels: int) -> Named:
            return Named(**{pair_name: two_convolutions(*channels, bias=bias)})

        b = base
        deepest = 16 * b if transpose and not slim else 8 * b
        self.inc = Named(conv=block(3, b, b)) if early else block(3, b, b)
        for i, (a, c) in enumerate(((b, 2 * b), (2 * b, 4 * b), (4 * b, 8 * b), (8 * b, deepest))):
            down = Named(**{self.pooled: nn.Sequential(nn.MaxPool2d(2), block(a, c, c))})
            self.add_module(f"down{i + 1}", down)
        for i, (skip, finer) in enumerate(((8 * b, 4 * b), (4 * b, 2 * b), (2 * b, b), (b, b))):
            if not transpose:
                up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                conv = block(2 * skip, finer if slim else skip, finer)
            elif slim:
                up, conv = nn.ConvTranspose2d(skip, skip, 2, 2), block(2 * skip, finer, finer)
            else:
                up, conv = nn.ConvTranspose2d(2 * skip, skip, 2, 2), block(2 * skip, skip, skip)
            self.add_module(f"up{i + 1}", Named(up=up, conv=conv))
        self.outc = Named(conv=nn.Conv2d(b, classes, 1))
        self.pair_name = pair_name
        self.stem_name = "conv.conv" if early else pair_name

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.inc.get_submodule(self.stem_name)(x)]
        for i in range(1, 5):
            pool, block = self.get_submodule(f"down{i}.{self.pooled}").children()
            maps.append(block.get_submodule(self.pair_name)(pool(maps[-1])))
        x = maps.pop()
        for i in range(1, 5):
            doubled = self.get_submodule(f"up{i}.up")(x)
            both = torch.cat([maps.pop(), doubled], dim=1)
            x = self.get_submodule(f"up{i}.conv.{self.pair_name}")(both)
        return self.outc.get_submodule("conv")(x)


def ours(upsample: str = "bilinear_ac", slim: bool = False, **arguments: Any) -> nn.Module:
    return create_model(
        "unet",
        **{"num_classes": 2, "input_size": (48, 32), "width": 1 / 16, **arguments},
        upsample=upsample,
        slim=slim,
    )


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("early", "bias"), [(True, True), (False, True), (False, False)], ids=["early", "bias", "later"]
)
def test_the_ports_checkpoints_answer_alike(early: bool, bias: bool, transpose: bool) -> None:
    theirs = ready(StandIn(4, 2, early=early, bias=bias, transpose=transpose), 3, 48, 32)
    state = dict(sorted(theirs.state_dict().items(), reverse=True))  # the order is of no account
    before = {key: value.clone() for key, value in state.items()}
    model = ours("transpose" if transpose else "bilinear_ac", slim=early)
    from_unet_checkpoint(model, {**state, "mask_values": [0, 255]}).eval()
    x = torch.rand(2, 3, 48, 32)
    with torch.no_grad():
        wanted = theirs(x)
        assert wanted.std() > 0.01
        torch.testing.assert_close(model(x), wanted, atol=1e-4, rtol=0)
    assert all(torch.equal(state[key], value) for key, value in before.items())


def test_another_interpolation_answers_otherwise() -> None:
    """A state dict does not say how it interpolates: the right answer needs the right argument."""
    theirs = ready(StandIn(4, 2, early=False, bias=False, transpose=False), 3, 48, 32)
    x = torch.rand(1, 3, 48, 32)
    with torch.no_grad():
        for upsample in ("nearest", "bilinear"):
            model = from_unet_checkpoint(ours(upsample), theirs.state_dict()).eval()
            assert (model(x) - theirs(x)).abs().max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slim": True}, r"up1\.conv\.double_conv\.0\.weight is \(32, 64, 3, 3\)"),
        ({"upsample": "transpose"}, r"down4\..*0\.weight is \(32, 32, 3, 3\), \(64, 32, 3, 3\)"),
        ({"num_classes": 1}, r"outc\.conv\.weight is \(2, 4, 1, 1\), \(1, 4, 1, 1\)"),
        ({"in_channels": 1}, r"inc\.double_conv\.0\.weight is \(4, 3, 3, 3\), \(4, 1, 3, 3\)"),
        ({"width": 1 / 8}, r"inc\.double_conv\.0\.weight is \(4, 3, 3, 3\), \(8, 3, 3, 3\)"),
    ],
)
def test_a_checkpoint_of_another_network_is_named(arguments: dict, message: str) -> None:
    state = StandIn(4, 2, early=False, bias=False, transpose=False).state_dict()
    model = ours(**arguments)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        from_unet_checkpoint(model, state)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_tensors_that_lack_or_are_left_over_are_named() -> None:
    learned = StandIn(4, 2, early=False, bias=False, transpose=True).state_dict()
    state = StandIn(4, 2, early=True, bias=True, transpose=False).state_dict()
    with pytest.raises(WeightsError, match=r"inc\.double_conv\.0\.weight is missing"):
        from_unet_checkpoint(ours(), {})
    with pytest.raises(WeightsError, match=r"up1\.up\.weight is missing"):
        from_unet_checkpoint(ours("transpose", slim=True), state)
    with pytest.raises(WeightsError, match=r"up2\.conv\.conv\.4\.running_mean is missing"):
        lacking = {key: v for key, v in state.items() if key != "up2.conv.conv.4.running_mean"}
        from_unet_checkpoint(ours(slim=True), lacking)
    with pytest.raises(WeightsError, match=r"extra\.weight is unknown"):
        from_unet_checkpoint(ours("transpose"), {**learned, "extra.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="no rules for VggS"):
        from_unet_checkpoint(create_model("vgg_s"), state)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_a_file_of_the_ports_says_how_it_is_built(
    early: bool, transpose: bool, tmp_path: Path
) -> None:
    theirs = ready(StandIn(8, 2, early=early, bias=early, transpose=transpose), 3, 224, 224)
    torch.save({**theirs.state_dict(), "mask_values": [0, 255]}, tmp_path / "checkpoint.pth")
    taken = import_weights(tmp_path / "checkpoint.pth", "unet_8")
    assert spec_of(taken.model).input_shape == (1, 3, 224, 224)
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(taken.model.eval()(x), theirs(x), atol=1e-4, rtol=0)
    with pytest.raises(WeightsError, match="is a UNet of 8 base channels, unet_16 has 16"):
        import_weights(tmp_path / "checkpoint.pth", "unet_16")

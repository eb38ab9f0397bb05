"""VGG and MobileNet: their structure, the K210's rules, and other people's weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from edgeark.errors import ModelError
from edgeark.zoo import WeightsError, create_model, list_models, spec_of
from edgeark.zoo.importers import from_timm, from_torchvision
from edgeark.zoo.layers import ConvBnAct
from edgeark.zoo.mobilenet import make_divisible
from edgeark.zoo.summary import Summary, summarize
from support.zoo_cases import MADE_FOR, create_small
from torch import nn

VGG_BN = ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
MOBILENETS = list_models("mobilenet_*")
K210 = MADE_FOR["k210"]


def measured(name: str, **arguments: object) -> tuple[nn.Module, Summary]:
    """The model at full size and its layers in order; on the meta device it costs nothing."""
    with torch.device("meta"):
        model = create_model(name, **arguments)
        return model, summarize(model)


@pytest.mark.parametrize(
    ("name", "parameters", "mega_macs", "idle_biases", "head_macs"),
    [
        ("vgg11_bn", 132_868_840, 7609, 2752, 0),
        ("vgg13_bn", 133_053_736, 11308, 2944, 0),
        ("vgg16_bn", 138_365_992, 15470, 4224, 0),
        ("vgg19_bn", 143_678_248, 19632, 5504, 0),
        ("mobilenet_v1_025", 470_072, 41, 0, 256_000),
        ("mobilenet_v1_050", 1_331_592, 149, 0, 512_000),
        ("mobilenet_v1_075", 2_585_560, 325, 0, 768_000),
        ("mobilenet_v1_100", 4_231_976, 569, 0, 1_024_000),
        ("mobilenet_v2_035", 1_677_128, 59, 0, 1_280_000),
        ("mobilenet_v2_050", 1_968_680, 97, 0, 1_280_000),
        ("mobilenet_v2_100", 3_504_872, 301, 0, 1_280_000),
    ],
)
def test_full_size_networks_cost_what_is_published(
    name: str, parameters: int, mega_macs: int, idle_biases: int, head_macs: int
) -> None:
    """The published figures, but for two things that are built otherwise.

    torchvision's 3x3 convolutions have biases, which the normalisation after them makes idle, and
    our MobileNets' classifier sees all of the 7x7 map, which the papers average first.
    """
    model, summary = measured(name)
    assert summary.parameters == parameters - idle_biases
    assert round((summary.macs - 48 * head_macs) / 1e6) == mega_macs
    assert summary.layers[-1].shape == (1000, 1, 1)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())


@pytest.mark.parametrize("name", VGG_BN)
def test_vgg_counts_are_torchvisions_less_its_idle_biases(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    idle = sum(m.out_channels for m in theirs.features if isinstance(m, nn.Conv2d))
    total = sum(p.numel() for p in theirs.parameters())
    assert measured(name)[1].parameters == total - idle


def test_vgg_s_has_the_layers_of_the_port() -> None:
    model, summary = measured("vgg_s")
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in convolutions] == [
        *((32, 3, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3)),
        *((128, 64, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3)),
        *((128, 128, 4, 4), (10, 128, 1, 1)),
    ]
    assert all(m.bias is None for m in convolutions)
    kinds = [type(m).__name__ for m in model.get_submodule("features").children()]
    after = [kinds[:i].count("ConvBnAct") for i, kind in enumerate(kinds) if kind == "MaxPool2d"]
    assert after == [1, 3, 6]
    assert summary.layers[-1].shape == (10, 1, 1)


def test_vgg_kpu_spends_its_budget() -> None:
    _, summary = measured("vgg_kpu")
    assert 1_500_000 < summary.parameters < 2_500_000
    assert [layer.shape[1] for layer in summary.layers if layer.kind == "MaxPool2d"] == [16, 8, 4]
    assert summary.layers[-1].shape == (10, 1, 1)


@pytest.mark.parametrize("name", VGG_BN)
def test_vgg_heads_cover_the_map_of_any_size(name: str) -> None:
    for side in (32, 64, 224):
        model, _ = measured(name, input_size=(side, side))
        head = model.get_submodule("head.0")
        assert isinstance(head, nn.Conv2d)
        assert head.kernel_size == (side // 32, side // 32)


def kpu_violations(model: nn.Module, summary: Summary) -> list[str]:
    """What the K210's KPU would not take, read off the modules in the order in which they run."""
    steps = [(layer, model.get_submodule(layer.name)) for layer in summary.layers]
    steps = [s for s in steps if isinstance(s[1], (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))]
    modules = [module for _, module in steps]
    problems = []
    for i, (layer, module) in enumerate(steps[:-1]):
        if min(layer.shape[1:]) < 4:
            problems.append(f"{layer.name}: map under 4x4")
        if isinstance(module, nn.MaxPool2d):
            before = modules[i - 1]
            fuses = isinstance(before, nn.Conv2d) and before.groups == 1
            if not fuses or (module.kernel_size, module.stride, module.padding) != (2, 2, 0):
                problems.append(f"{layer.name}: pool does not fuse")
        elif isinstance(module, nn.Conv2d):
            size, groups = module.kernel_size, module.groups
            if size not in ((3, 3), (1, 1)) or module.padding != tuple(k // 2 for k in size):
                problems.append(f"{layer.name}: kernel or padding")
            if max(module.in_channels, module.out_channels) > 1024:
                problems.append(f"{layer.name}: over 1024 channels")
            if groups not in (1, module.in_channels) or module.dilation != (1, 1):
                problems.append(f"{layer.name}: groups or dilation")
            if groups > 1 and module.stride != (1, 1):
                after = modules[i + 1]
                if not isinstance(after, nn.Conv2d) or after.kernel_size != (1, 1):
                    problems.append(f"{layer.name}: strided depthwise without a 1x1 after it")
    head = modules[-2]
    pools = spec_of(model).task == "classification"
    if pools and (not isinstance(head, nn.Conv2d) or head.kernel_size != (1, 1)):
        problems.append("the head is not a 1x1 in front of the pool")
    return problems


def kpu_bytes(model: nn.Module, summary: Summary) -> int:
    """KPU memory of the largest layer: input beside output, in rows of 64 bytes (uint8).

    A depthwise layer of stride 2 is computed, and kept, at full resolution.
    """

    def rows(shape: tuple[int, ...]) -> int:
        channels, height, width = shape
        side_by_side = 4 if width <= 16 else 2 if width <= 32 else 1
        return -(-width // 64) * height * -(-channels // min(channels, side_by_side))

    peak, before = 0, summary.layers[0].shape
    for layer in summary.layers:
        module = model.get_submodule(layer.name)
        if isinstance(module, nn.Conv2d):
            channels, height, width = layer.shape
            if module.in_channels != before[0]:  # a skip was concatenated
                before = (module.in_channels, height, width)
            stride = module.stride[0] if module.groups > 1 else 1
            shape = (channels, height * stride, width * stride)
            peak, before = max(peak, 64 * (rows(before) + rows(shape))), shape
        elif isinstance(module, nn.MaxPool2d):
            before = layer.shape
    return peak


@pytest.mark.parametrize("name", K210)
def test_models_made_for_the_k210_keep_its_rules(name: str) -> None:
    for arguments in ({}, {"input_size": (128, 160)}):
        model, summary = measured(name, **arguments)
        assert kpu_violations(model, summary) == []
    model, summary = measured(name)
    assert kpu_bytes(model, summary) <= 2 * 2**20


def test_the_k210s_families_are_complete() -> None:
    assert {"vgg_kpu", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"} <= set(K210)


@pytest.mark.parametrize("name", list_models("mobilenet_v2_*"))
def test_mobilenet_v2_breaks_the_k210s_channel_limit_alone(name: str) -> None:
    """1280 channels, the published number, are the one exception, and 1024 can be had."""
    limit = "over 1024 channels"
    assert kpu_violations(*measured(name)) == [f"features.18.conv: {limit}", f"head: {limit}"]
    assert kpu_violations(*measured(name, last_channels=1024)) == []


def test_the_rules_find_what_breaks_them() -> None:
    assert "hidden.conv: kernel or padding" in kpu_violations(*measured("vgg_s"))
    model, _ = measured("mobilenet_v1_025")
    features = model.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    features[2] = nn.Sequential(ConvBnAct(16, 16, stride=2, groups=16), ConvBnAct(16, 32))
    features[3] = nn.Sequential(ConvBnAct(32, 32, groups=32), nn.MaxPool2d(3, 1, 1))
    with torch.device("meta"):
        model.to("meta")
        problems = kpu_violations(model, summarize(model))
    assert "features.2.0.conv: strided depthwise without a 1x1 after it" in problems
    assert "features.3.1: pool does not fuse" in problems


@pytest.mark.parametrize("size", [(128, 128), (160, 160), (224, 224), (128, 192)])
@pytest.mark.parametrize("name", ["mobilenet_v1_025", "mobilenet_v2_035"])
def test_a_mobilenets_last_map_is_a_32nd_of_the_input(name: str, size: tuple[int, int]) -> None:
    _, summary = measured(name, input_size=size)
    assert summary.layers[-2].shape == (1000, size[0] // 32, size[1] // 32)


@pytest.mark.parametrize("name", ["vgg_kpu", "mobilenet_v1_025", "mobilenet_v2_035"])
def test_head_then_pool_equals_pool_then_linear(name: str) -> None:
    model = create_small(name, num_classes=7).double().eval()
    x = torch.randn(2, 3, *model.spec.input_size, dtype=torch.float64)
    head = model.get_submodule("head")
    assert isinstance(head, nn.Conv2d)
    with torch.no_grad():
        pooled = model.get_submodule("features")(x).mean((2, 3))
        wanted = nn.functional.linear(pooled, head.weight.flatten(1), head.bias)
        torch.testing.assert_close(model(x).flatten(1), wanted, rtol=1e-12, atol=1e-12)


def test_widths_are_rounded_as_in_the_papers() -> None:
    assert [make_divisible(c * 0.35) for c in (32, 16, 24, 64, 96, 320)] == [16, 8, 8, 24, 32, 112]
    for width in (0.25, 0.5, 0.75, 1.0):
        assert [make_divisible(c * width) for c in (32, 64, 1024)] == [
            int(c * width) for c in (32, 64, 1024)
        ]
    for width, last in ((0.35, 1280), (1.4, 1792)):
        model, _ = measured("mobilenet_v2_100", width=width)
        assert model.get_submodule("head").in_channels == last


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgg_s", {"input_size": (7, 32)}, "at least 8x8 pixels .*, got 7x32"),
        ("vgg_kpu", {"input_size": (32, 24)}, "at least 32x32 pixels .*, got 32x24"),
        ("vgg_kpu", {"width": 5}, "at most 1024 channels"),
        ("vgg16_bn", {"input_size": (16, 16)}, "at least 32x32 pixels"),
        ("mobilenet_v1_025", {"input_size": (96, 96)}, "multiples of 32, 128 or more"),
        ("mobilenet_v2_035", {"input_size": (224, 225)}, "multiples of 32, .* got 224x225"),
        ("mobilenet_v2_035", {"dropout": 0.5}, "dropout"),
    ],
)
def test_impossible_networks_are_refused_in_one_line(
    name: str, arguments: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_model(name, **arguments)
    assert "\n" not in str(caught.value)


def trained_like(model: nn.Module) -> nn.Module:
    """Statistics, scales and biases that differ from their first values, as after training."""
    generator = torch.Generator().manual_seed(1)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.ndim == 1:
            scale, offset = (0.2, 1.0) if name.endswith(("weight", "running_var")) else (0.2, 0.0)
            value.data.uniform_(-scale, scale, generator=generator).add_(offset)
    return model.eval()


@torch.no_grad()
def check_equal(ours: nn.Module, theirs: nn.Module, size: int) -> None:
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    wanted = theirs(x)
    found = ours.eval()(x).flatten(1)
    assert wanted.std() > 0
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_torchvisions_vgg_answers_alike() -> None:
    theirs = trained_like(torchvision.models.vgg11_bn(num_classes=10, init_weights=False))
    ours = from_torchvision(create_model("vgg11_bn", num_classes=10), theirs.state_dict())
    check_equal(ours, theirs, 224)


@pytest.mark.parametrize("name", VGG_BN)
def test_every_vgg_of_torchvision_has_its_place(name: str) -> None:
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
        from_torchvision(create_model(name), state)


@pytest.mark.parametrize("width", [0.35, 1.0])
def test_torchvisions_mobilenet_answers_alike(width: float) -> None:
    theirs = trained_like(torchvision.models.mobilenet_v2(num_classes=10, width_mult=width))
    ours = create_model("mobilenet_v2_100", num_classes=10, width=width, input_size=(128, 128))
    check_equal(from_torchvision(ours, theirs.state_dict()), theirs, 128)


def test_timms_mobilenet_answers_alike() -> None:
    theirs = trained_like(timm.create_model("mobilenetv1_100", pretrained=False, num_classes=10))
    state = dict(sorted(theirs.state_dict().items(), reverse=True))  # the order is of no account
    ours = create_model("mobilenet_v1_100", num_classes=10, input_size=(128, 128))
    check_equal(from_timm(ours, state), theirs, 128)


def drop(state: dict, key: str) -> None:
    del state[key]


def cut(state: dict, key: str) -> None:
    state[key] = state[key][1:]


def add(state: dict, key: str) -> None:
    state[key] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        (drop, "features.3.conv.1.1.bias", "is missing"),
        (cut, "features.3.conv.1.0.weight", r"is \(143, 1, 3, 3\), \(144, 1, 3, 3\) is wanted"),
        (cut, "classifier.1.weight", r"is \(999, 1280, 1, 1\), \(1000, 1280, 1, 1\) is wanted"),
        (add, "features.19.0.weight", "is unknown"),
    ],
)
def test_a_wrong_state_dict_is_named(
    change: Callable[[dict, str], None], key: str, message: str
) -> None:
    state = torchvision.models.mobilenet_v2().state_dict()
    change(state, key)
    model = create_model("mobilenet_v2_100", input_size=(128, 128))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"{key} {message}"):
        from_torchvision(model, state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weights_of_another_network_are_refused() -> None:
    with torch.device("meta"):
        vgg11, vgg13 = (getattr(torchvision.models, n)().state_dict() for n in VGG_BN[:2])
        with pytest.raises(WeightsError, match=r"features\.3\.bias is missing"):
            from_torchvision(create_model("vgg13_bn"), vgg11)
        with pytest.raises(WeightsError, match=r"classifier\.0\.weight is \(4096, 25088\)"):
            from_torchvision(create_model("vgg13_bn", input_size=(32, 32)), vgg13)
        without_bias = {key: v for key, v in vgg13.items() if key != "features.0.bias"}
        with pytest.raises(WeightsError, match=r"features\.0\.bias is missing"):
            from_torchvision(create_model("vgg13_bn"), without_bias)
        with pytest.raises(WeightsError, match="no rules for VggS"):
            from_torchvision(create_model("vgg_s"), vgg11)
        with pytest.raises(WeightsError, match="no rules for Vgg"):
            from_timm(create_model("vgg11_bn"), vgg11)
        with pytest.raises(WeightsError, match=r"conv_stem\.weight is missing"):
            from_timm(create_model("mobilenet_v1_100"), vgg11)

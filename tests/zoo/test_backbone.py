"""Backbones: the maps they promise, the weights they keep, and the networks that take them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgeark.zoo.timm_models  # noqa: F401  (registers the models that smp finds)
import numpy as np
import onnx
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import timm.models
import torch
from edgeark.errors import ModelError
from edgeark.export.graph.files import write_onnx
from edgeark.zoo import WeightsError, create_model, list_models, save_weights, spec_of
from edgeark.zoo.backbone import Backbone, create_backbone
from edgeark.zoo.stages import feature_stages, measure_stages, split_stages
from edgeark.zoo.unet import UNetDecoder, Upsample
from hypothesis import given
from hypothesis import strategies as st
from support.zoo_cases import answers, create_small, one_per_family, small
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import BackboneWithFPN

MODELS = list_models()
SMALLS = one_per_family()


def image(model: nn.Module, *size: int) -> Tensor:
    """One image of noise, of the model's own size unless another is given."""
    spec = spec_of(model)
    noise = torch.Generator().manual_seed(3)
    return torch.randn(1, spec.in_channels, *(size or spec.input_size), generator=noise)


def first_convolution(model: nn.Module) -> nn.Conv2d:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


# What a backbone gives


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_maps_are_those_promised(name: str) -> None:
    backbone = create_backbone(name, **small(name)).eval()
    info = backbone.feature_info
    side = 256  # a border that an encoder without padding loses is small against it
    maps = backbone(image(backbone, side, side))
    assert [x.shape[1] for x in maps] == info.channels() == backbone.out_channels
    assert [round(side / x.shape[2]) for x in maps] == info.reduction()
    assert info.reduction() == [info.reduction()[0] << i for i in range(len(maps))]
    assert info.module_name() == list(backbone)


@pytest.mark.parametrize("name", SMALLS)
@torch.no_grad()
def test_the_maps_are_the_models_own(name: str) -> None:
    model = create_small(name).eval()
    inside: dict[int, Tensor] = {}
    for index, stage in enumerate(feature_stages(model)):
        stage[-1].register_forward_hook(lambda _, __, out, index=index: inside.update({index: out}))
    model(image(model))
    wanted = dict(inside)
    for index, found in enumerate(Backbone(model)(image(model))):
        assert torch.equal(found, wanted[index])


@pytest.mark.parametrize("name", SMALLS)
def test_stages_share_the_models_layers_and_add_none(name: str) -> None:
    model = create_small(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    backbone = Backbone(model)
    after = model.state_dict()
    assert list(after) == list(before)  # no name is new ...
    assert all(torch.equal(after[key], before[key]) for key in before)  # ... no statistic moved
    assert all(module.training for module in model.modules())
    assert {id(p) for p in backbone.parameters()} <= {id(p) for p in model.parameters()}
    assert first_convolution(backbone) is first_convolution(model)


@pytest.mark.parametrize("name", SMALLS)
@torch.no_grad()
def test_nothing_runs_behind_the_last_map(name: str) -> None:
    model = create_small(name).eval()
    ran: list[int] = []
    for index, stage in enumerate(feature_stages(model)):
        stage[0].register_forward_hook(lambda *_, index=index: ran.append(index))
    every = Backbone(model)(image(model))
    backbone = Backbone(model, (1, 0))
    ran.clear()
    maps = backbone(image(model))
    assert ran == [0, 1] and list(backbone) == ["stage0", "stage1"]
    assert torch.equal(maps[0], every[1]) and torch.equal(maps[1], every[0])
    assert backbone.out_channels == [x.shape[1] for x in maps]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_chain_is_cut_in_front_of_what_shrinks(shrinks: list[bool]) -> None:
    chain = nn.Sequential(*(nn.MaxPool2d(2) if shrink else nn.ReLU() for shrink in shrinks))
    stages = split_stages(chain)
    assert [layer for stage in stages for layer in stage] == list(chain)
    assert len(stages) == 1 + sum(shrinks[1:])
    assert all(isinstance(stage[0], nn.MaxPool2d) for stage in stages[1:])


def test_indices_count_from_both_ends() -> None:
    backbone = create_backbone("mobilenet_v2_035", out_indices=(1, -1))
    assert backbone.out_indices == (1, 4)
    assert backbone.out_channels == [8, 112]  # timm's; the 1x1 to 1280 is the classifier's
    assert backbone.feature_info.channels(0) == 8
    assert len(backbone.feature_info) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_indices": (5,)}, r"has 5 feature maps, 0 to 4 or -5 to -1; out_indices has 5"),
        ({"out_indices": (0, -6)}, "out_indices has -6"),
        ({"out_indices": ()}, "out_indices is empty"),
        ({"in_channels": 4}, "1 .gray. or 3 .rgb. channels"),
        ({"depth": 3}, "depth"),
    ],
)
def test_what_makes_no_backbone_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_backbone("mobilenet_v1_025", **arguments)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_models_without_stages_are_refused() -> None:
    with pytest.raises(ModelError, match="did you mean mobilenet_v1_025"):
        create_backbone("mobilenet_v1_02")
    plain = nn.Sequential(nn.Conv2d(3, 8, 1))
    plain.spec = spec_of(create_model("vgg_s"))  # type: ignore[assignment]
    assert measure_stages(plain) == []
    with pytest.raises(ModelError, match="Sequential has no feature stages"):
        Backbone(plain)


def test_the_feature_info_reads_as_timms_does() -> None:
    ours = create_backbone("mobilenet_v1_025", (2, 4)).feature_info
    theirs = timm.models.FeatureInfo([dict(facts) for facts in ours.info], ours.out_indices)
    for idx in (None, 0, [1, 3]):
        for method in ("channels", "reduction", "module_name"):
            assert getattr(ours, method)(idx) == getattr(theirs, method)(idx)
        for keys in (None, ["num_chs", "reduction"]):
            assert ours.get_dicts(keys, idx) == theirs.get_dicts(keys, idx)
    assert (len(ours), ours[3], ours.out_indices) == (len(theirs), theirs[3], theirs.out_indices)


@torch.no_grad()
def test_the_shipped_weights_come_along() -> None:
    backbone = create_backbone("mnist_kpu", pretrained=True).eval()
    model = create_model("mnist_kpu", pretrained=True).eval()
    x = image(model)
    assert torch.equal(backbone(x)[-1], model.get_submodule("features")(x))
    assert (backbone.spec, backbone.name) == (spec_of(model), "mnist_kpu")


def test_weights_of_a_file_come_along_with_their_spec(tmp_path: Path) -> None:
    spec = {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)}
    model = create_small("vgg_s", num_classes=4, width=0.5, spec=spec)
    path = save_weights(model, tmp_path / "w.safetensors")
    backbone = create_backbone("vgg_s", weights=path)
    assert backbone.spec == spec_of(model)
    assert torch.equal(first_convolution(backbone).weight, first_convolution(model).weight)
    with pytest.raises(WeightsError, match="does not fit this network"):
        create_backbone("vgg_s", weights=path, width=1.0)
    with pytest.raises(WeightsError, match="no trained weights ship for unet_32"):
        create_backbone("unet_32", pretrained=True)


# Networks that take one


def train_a_step(model: nn.Module, loss_of: Callable[[], Tensor]) -> None:
    """One step of SGD; it has to move the backbone's first convolution and to reach all the rest.

    Normalisation keeps the statistics of this very batch: with the first ones of all, the maps of a
    network that is not trained fade to nothing, and any two exports of it would agree.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-2)
    weight = first_convolution(model).weight
    before = weight.detach().clone()
    loss = loss_of()
    assert torch.isfinite(loss)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert weight.grad is not None and weight.grad.abs().max() > 0
    optimizer.step()
    assert not torch.equal(weight, before)
    model.eval()


def run_on_onnx_runtime(path: Path, x: Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


@torch.no_grad()
def check_export(model: nn.Module, x: Tensor, path: Path, opset: int) -> None:
    """ONNX Runtime answers as PyTorch does; each answer varies, so that it can be wrong."""
    write_onnx(model, (x,), path, opset)
    found = run_on_onnx_runtime(path, x)
    for ours, theirs in zip(found, answers(model, x), strict=True):
        assert theirs.std() > 0
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-3 * theirs.std().item())


def with_fpn(channels: int = 64) -> BackboneWithFPN:
    backbone = create_backbone("mobilenet_v1_025", out_indices=(1, 2, 3, 4))
    names = {name: str(i) for i, name in enumerate(backbone.feature_info.module_name())}
    return BackboneWithFPN(backbone, names, backbone.out_channels, channels)


@pytest.mark.parametrize(
    ("detector", "threshold", "classifier"),
    [
        (FasterRCNN, "box_score_thresh", "rpn.head.cls_logits"),
        (RetinaNet, "score_thresh", "head.classification_head.cls_logits"),
    ],
)
def test_torchvisions_detectors_take_one(
    detector: Callable[..., nn.Module], threshold: str, classifier: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    arguments = {"num_classes": 3, "min_size": 128, "max_size": 128, threshold: 1e-3}
    model = detector(with_fpn(), **arguments)
    # As it begins, all boxes score alike, and which are the best is a coin's toss.
    nn.init.normal_(model.get_submodule(classifier).get_parameter("weight"), std=1.0)
    images = [torch.rand(3, 128, 128) for _ in range(2)]
    boxes = torch.tensor([[10.0, 20.0, 80.0, 100.0], [60.0, 30.0, 120.0, 90.0]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 2])}
    train_a_step(model, lambda: sum(model(images, [target, target]).values()))  # type: ignore[arg-type]
    path = tmp_path / "detector.onnx"
    with torch.no_grad():
        boxes, labels, scores = model(images[:1])[0].values()
        # Boxes, labels and scores in a number known at run time only: dynamo cannot write that.
        torch.onnx.export(model, (images[:1],), str(path), dynamo=False, opset_version=17)
    found = run_on_onnx_runtime(path, images[0])
    wanted = torch.column_stack([boxes, labels, scores]).numpy()
    assert len(wanted) >= 5
    # Two boxes may change places, or one its rival's, where they differ in the last digit.
    same = np.abs(np.column_stack(found)[:, None] - wanted[None]).max(axis=2) < 1e-2
    assert same.any(axis=0).mean() >= 0.95 and same.any(axis=1).mean() >= 0.95


def test_a_pyramid_is_a_static_graph(tmp_path: Path) -> None:
    """What one puts on a chip: the maps. A detector's boxes are for its CPU."""
    model, x = with_fpn(), torch.randn(2, 3, 128, 160)
    train_a_step(model, lambda: torch.stack([y.square().mean() for y in model(x).values()]).sum())
    path = tmp_path / "pyramid.onnx"
    as_list = nn.Sequential(model, _Values())
    check_export(as_list, x[:1], path, opset=18)
    nodes = onnx.load(path).graph.node
    assert "Shape" not in {node.op_type for node in nodes}


class _Values(nn.Module):
    def forward(self, maps: dict[str, Tensor]) -> list[Tensor]:
        return list(maps.values())


def test_a_segmentation_models_unet_takes_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = smp.Unet("tu-edgeark_mobilenet_v1_025", encoder_weights=None, classes=2)
    x, mask = torch.randn(2, 3, 128, 128), torch.randint(0, 2, (2, 128, 128))
    train_a_step(model, lambda: nn.functional.cross_entropy(model(x), mask))
    check_export(model, x[:1], tmp_path / "unet.onnx", opset=15)


@pytest.mark.parametrize("upsample", ["nearest", "transpose"])
def test_our_unet_decoder_takes_one(upsample: Upsample, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("mobilenet_v1_025", out_indices=(0, 1, 2, 3))
    decoder = UNetDecoder(backbone.out_channels, (64, 80), "relu6", upsample)
    model = nn.Sequential(backbone, decoder, nn.Conv2d(decoder.out_channels, 2, 1))
    x, mask = torch.randn(2, 3, 128, 160), torch.randint(0, 2, (2, 64, 80))
    train_a_step(model, lambda: nn.functional.cross_entropy(model(x), mask))
    path = tmp_path / "unet.onnx"
    check_export(model, x[:1], path, opset=15)
    assert "Shape" not in {node.op_type for node in onnx.load(path).graph.node}


# What docs/backbones.md says

DOCS = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_examples_run(code: str) -> None:
    exec(compile(code, "docs/backbones.md", "exec"), {})


def test_the_table_is_what_a_run_gives() -> None:
    rows = re.findall(r"^\| `(\w+)`.* \| ([\d, ]+) \| ([\d, ]+) \|$", DOCS, re.MULTILINE)
    assert len(rows) >= 12
    for name, reductions, channels in rows:
        smallest = {"input_size": (32, 32)} if name.endswith("_bn") else {}  # a cheaper head
        info = create_backbone(name, **smallest).feature_info
        assert info.reduction() == [int(value) for value in reductions.split(",")]
        assert info.channels() == [int(value) for value in channels.split(",")]

"""The zoo as timm sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import timm
import timm.data
import torch
from edgeark.errors import ModelError
from edgeark.zoo import (
    WeightsError,
    create_model,
    list_models,
    model_entry,
    register_model,
    spec_of,
)
from edgeark.zoo import registry as registry_module
from edgeark.zoo.backbone import create_backbone
from edgeark.zoo.timm_models import Classifier, register_with_timm
from support.zoo_cases import one_per_family, small
from torch import nn

MODELS = list_models()
CLASSIFIERS = [n for n in one_per_family() if model_entry(n).spec.task == "classification"]


def test_timm_lists_every_model() -> None:
    assert set(timm.list_models("edgeark_*")) == {f"edgeark_{name}" for name in MODELS}
    trained = {f"edgeark_{name}" for name in list_models(pretrained=True)}
    assert set(timm.list_models("edgeark_*", pretrained=True)) == trained


@pytest.mark.parametrize("name", MODELS)
def test_features_only_gives_our_backbone(name: str) -> None:
    theirs = timm.create_model(f"edgeark_{name}", features_only=True, **small(name))
    ours = create_backbone(name, **small(name))
    assert theirs.feature_info.get_dicts() == ours.feature_info.get_dicts()
    assert list(theirs.state_dict()) == list(ours.state_dict())


def test_timms_own_arguments_are_understood() -> None:
    arguments = {"features_only": True, "in_chans": 1, "pretrained": False, "num_classes": 7}
    backbone = timm.create_model("edgeark_mobilenet_v1_050", out_indices=(2, 3, 4), **arguments)
    assert backbone.feature_info.channels() == [128, 256, 512]
    assert backbone.feature_info.reduction() == [8, 16, 32]
    assert [tuple(x.shape) for x in backbone(torch.zeros(2, 1, 96, 64))] == [
        (2, 128, 12, 8),
        (2, 256, 6, 4),
        (2, 512, 3, 2),
    ]
    last_two = timm.create_model("edgeark_mobilenet_v1_050", out_indices=2, **arguments)
    assert last_two.feature_info.reduction() == [16, 32]


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_a_classifier_answers_as_ours_in_timms_shape(name: str) -> None:
    arguments: dict[str, Any] = {**small(name), "num_classes": 7}
    size = arguments.pop("input_size", model_entry(name).spec.input_size)
    model = timm.create_model(f"edgeark_{name}", img_size=size[0], **arguments).eval()
    assert isinstance(model, Classifier)
    ours = create_model(name, input_size=size, **arguments).eval()
    ours.load_state_dict(model.model.state_dict())
    x = torch.randn(2, spec_of(ours).in_channels, *size)
    assert torch.equal(model(x), ours(x).flatten(1))
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))
    assert (model.num_classes, model(x).shape) == (7, (2, 7))


@torch.no_grad()
def test_the_shipped_weights_load() -> None:
    model = timm.create_model("edgeark_mnist", pretrained=True).eval()
    x = torch.randn(1, 1, 28, 28)
    assert torch.equal(model(x), create_model("mnist", pretrained=True).eval()(x).flatten(1))


def test_the_data_configuration_is_the_specs_in_units_of_one() -> None:
    model = timm.create_model("edgeark_mnist", features_only=True, img_size=32)
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (1, 32, 32)
    assert not model.pretrained_cfg["fixed_input_size"]
    assert config["mean"] == pytest.approx([33.318 / 255])
    assert config["std"] == pytest.approx([78.568 / 255])
    assert (config["crop_pct"], config["interpolation"]) == (1.0, "bilinear")
    assert timm.models.get_pretrained_cfg("edgeark_vgg16_bn").input_size == (3, 224, 224)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pretrained": True}, WeightsError, "no trained weights ship for mobilenet_v1_075"),
        ({"num_classes": 0}, ModelError, "ask for features_only=True"),
        ({"out_indices": (1,)}, ModelError, "ask for features_only=True"),
        ({"pretrained_cfg": "in1k"}, ModelError, "give weights=FILE"),
        ({"drop_path_rate": 0.1}, ModelError, "drop_path_rate"),
        ({"features_only": True, "output_stride": 8}, ModelError, "output_stride"),
        ({"features_only": True, "out_indices": (5,)}, ModelError, "out_indices has 5"),
    ],
)
def test_what_we_do_not_have_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        timm.create_model("edgeark_mobilenet_v1_075", **arguments)


def test_models_of_ones_own_join_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_ENTRIES", dict(registry_module._ENTRIES))
    entry = model_entry("mnist")

    @register_model(replace(entry.spec, task="segmentation"))
    def my_digits(**arguments: Any) -> nn.Module:
        return entry.build(**arguments, act="relu", width=0.25)

    assert register_with_timm() == ["edgeark_my_digits"]
    assert register_with_timm() == []
    assert timm.create_model("edgeark_my_digits", features_only=True).out_channels == [5, 12, 12]
    with pytest.raises(ModelError, match="my_digits does segmentation"):
        timm.create_model("edgeark_my_digits")

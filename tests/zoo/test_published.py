"""Published ImageNet weights: files of random weights, made in the loaders' own caches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from edgeark.training.config import load_recipe
from edgeark.training.network import start_network
from edgeark.zoo import WeightsError, create_model, save_weights, spec_of
from edgeark.zoo.registry import head_tensors
from safetensors.torch import save_file
from torch import nn

INCEPTION, IMAGENET = (127.5,) * 3, (123.675, 116.28, 103.53)
MEANS = {
    "mobilenet_v1_100": INCEPTION,
    "mobilenet_v2_050": IMAGENET,
    "mobilenet_v2_100": IMAGENET,
}
TIMM = {"mobilenet_v1_100": "mobilenetv1_100", "mobilenet_v2_050": "mobilenetv2_050"}
SIDE = 128


def write_timm(name: str, cache: Path) -> nn.Module:
    theirs = trained_like(timm.create_model(TIMM[name]))
    repository = cache / f"models--timm--{TIMM[name]}.{theirs.pretrained_cfg['tag']}"
    for folder, file in (("refs", "main"), (f"snapshots/{'0' * 40}", "model.safetensors")):
        (repository / folder).mkdir(parents=True)
        if file == "main":
            (repository / folder / file).write_text("0" * 40)
        else:
            save_file(theirs.state_dict(), repository / folder / file)
    return theirs


def write_torchvision(cache: Path) -> nn.Module:
    theirs = trained_like(torchvision.models.mobilenet_v2())
    url = torchvision.models.MobileNet_V2_Weights.DEFAULT.url
    (cache / "hub/checkpoints").mkdir(parents=True)
    torch.save(theirs.state_dict(), cache / "hub/checkpoints" / Path(urlparse(url).path).name)
    return theirs


def trained_like(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.bias, module.running_mean):
                assert value is not None
                value.data.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], nn.Module]:
    """Put random weights for a model of ours where its loader looks first; nothing is fetched."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)

    def write(name: str) -> nn.Module:
        if name in TIMM:
            return write_timm(name, tmp_path / "hf")
        return write_torchvision(tmp_path / "torch")

    return write


@pytest.mark.parametrize("name", MEANS)
@torch.no_grad()
def test_published_weights_answer_as_their_own_network(
    name: str, publish: Callable[[str], nn.Module]
) -> None:
    theirs = publish(name)
    ours = create_model(name, pretrained=True, input_size=(SIDE, SIDE)).eval()
    spec = spec_of(ours)
    assert spec.mean == pytest.approx(MEANS[name])
    assert (len(spec.classes), spec.dataset) == (1000, "imagenet")
    assert spec.classes[0].startswith("tench")
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    wanted = theirs(x)
    assert wanted.std() > 0
    assert (ours(x).flatten(1) - wanted).abs().max() <= 1e-5 * wanted.abs().max()

    other = create_model(name, pretrained=True, num_classes=4, input_size=(SIDE, SIDE))
    head = head_tensors(other)
    assert head and all(key.startswith("head") for key in head)
    for key, value in ours.state_dict().items():
        assert key in head or torch.equal(other.state_dict()[key], value)
    assert (spec_of(other).mean, len(spec_of(other).classes)) == (spec.mean, 4)


def test_a_training_begins_with_them(publish: Callable[[str], nn.Module], tmp_path: Path) -> None:
    publish("mobilenet_v2_100")
    recipe = load_recipe("mobilenet_v1_050", model="mobilenet_v2_100", dataset="image_folder",
                         pretrained="auto").with_input_size((SIDE, SIDE))  # fmt: skip
    facts = {"dataset": "image_folder", "classes": ("a", "b", "c")}
    model, spec, transfer = start_network(recipe, facts, None)
    assert transfer is not None and all(key.startswith("head") for key in transfer.fresh)
    assert transfer.source == "torchvision's MobileNet_V2_Weights.IMAGENET1K_V2"
    assert spec.mean == pytest.approx(IMAGENET) and spec.classes == ("a", "b", "c")
    # A file of weights says likewise how its images were normalised.
    path = save_weights(model, tmp_path / "mine.safetensors")
    again = recipe.model_copy(update={"pretrained": str(path)})
    _, spec, transfer = start_network(again, facts, None)
    assert transfer is not None and spec.mean == pytest.approx(IMAGENET)


@pytest.mark.parametrize("name", ["mobilenet_v1_100", "mobilenet_v2_100"])
def test_without_network_and_cache_it_is_one_line_and_auto_goes_on(
    name: str, publish: Callable[[str], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    del publish  # it only cut the network
    with pytest.raises(WeightsError, match=f"cannot get .* ImageNet weights for {name}: [^\n]+$"):
        create_model(name, pretrained=True)
    recipe = load_recipe("mobilenet_v1_050", model=name, dataset="image_folder", pretrained="auto")
    with caplog.at_level(logging.INFO):
        _, spec, transfer = start_network(recipe, {"classes": ("a", "b")}, None)
    assert transfer is None and spec.mean == (0.0, 0.0, 0.0)
    assert "training starts from random weights" in caplog.text
    with pytest.raises(WeightsError, match="ImageNet weights"):
        start_network(recipe.model_copy(update={"pretrained": name}), {}, None)


@pytest.mark.parametrize("name", ["mobilenet_v1_100", "mobilenet_v2_100"])
def test_offline_the_cache_alone_is_read(
    name: str,
    publish: Callable[[str], nn.Module],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("somebody went online"))
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    with pytest.raises(WeightsError, match="cannot get"):
        create_model(name, pretrained=True)
    publish(name)
    assert len(spec_of(create_model(name, pretrained=True)).classes) == 1000

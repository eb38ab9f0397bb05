"""Every model of the zoo: built, run, saved, loaded, and refused where the arguments are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.core.catalog import INDEX, packaged_weights
from edgeark.errors import ModelError
from edgeark.zoo import (
    ModelSpec,
    WeightsError,
    create_model,
    list_models,
    load_weights,
    model_entry,
    register_model,
    save_weights,
    spec_of,
)
from edgeark.zoo import registry as registry_module
from edgeark.zoo.summary import summarize
from edgeark.zoo.weights import read_header
from support.zoo_cases import (
    answer_shapes,
    answers,
    create_small,
    other_channels,
    other_size,
    toy_loss,
)

MODELS = list_models()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_in_the_shape_its_spec_promises(name: str) -> None:
    model = create_small(name).eval()
    spec = spec_of(model)
    shapes = [tuple(out.shape) for out in answers(model, torch.zeros(spec.input_shape))]
    assert shapes == answer_shapes(spec)


@pytest.mark.parametrize("name", MODELS)
def test_arguments_change_the_network_and_its_spec_alike(name: str) -> None:
    size, (channels, color) = other_size(name), other_channels(name)
    model = create_small(name, num_classes=3, in_channels=channels, input_size=size).eval()
    spec = spec_of(model)
    assert (spec.input_shape, spec.color) == ((1, channels, *size), color)
    assert spec.classes == ("0", "1", "2")
    shapes = [tuple(out.shape) for out in answers(model, torch.zeros(2, channels, *size))]
    assert shapes == answer_shapes(spec, batch=2)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_learn(name: str) -> None:
    torch.manual_seed(0)
    model = create_small(name, num_classes=10).train()
    spec = spec_of(model)
    images = torch.randn(8, *spec.input_shape[1:])
    lr = 1e-3 if spec.task == "classification" else 1e-2  # detectors start at their prior
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for _ in range(8):
        loss = toy_loss(spec, answers(model, images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * (0.5 if spec.task == "classification" else 0.8)


@pytest.mark.parametrize("name", MODELS)
def test_saved_weights_come_back_with_their_spec(name: str, tmp_path: Path) -> None:
    channels = model_entry(name).spec.in_channels
    spec = {"mean": (1.0,) * channels, "std": (2.0,) * channels}
    model = create_small(name, num_classes=4, width=0.5, spec=spec)
    path = save_weights(model, tmp_path / "w.safetensors", {"seed": "7"})
    again = create_model(name, weights=path)
    assert spec_of(again) == spec_of(model)
    assert read_header(path) == {"seed": "7"}
    for (key, value), other in zip(
        model.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), key


@pytest.mark.parametrize("name", list_models(pretrained=True))
def test_the_shipped_weights_load_and_are_not_random(name: str) -> None:
    trained, fresh = create_model(name, pretrained=True), create_model(name)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(trained.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    assert (packaged_weights(name).parent / "cards" / f"{name}.md").exists()


def test_the_article_network_has_its_shape() -> None:
    model = create_model("mnist")
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in convolutions] == [
        (20, 1, 5, 5),
        (50, 20, 5, 5),
        (500, 50, 4, 4),
        (10, 500, 1, 1),
    ]
    assert all(m.bias is None for m in convolutions)
    assert not any(isinstance(m, torch.nn.Linear) for m in model.modules())


def test_the_kpu_network_keeps_the_k210_rules() -> None:
    model = create_model("mnist_kpu")
    summary = summarize(model)
    assert summary.parameters < 100_000
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            assert module.kernel_size in ((3, 3), (1, 1))
            assert module.padding == tuple(k // 2 for k in module.kernel_size)
    assert all(
        min(layer.shape[1:]) >= 4 for layer in summary.layers if layer.kind != "FixedAvgPool"
    )


def test_macs_are_those_of_a_count_by_hand() -> None:
    by_name = {layer.name: layer.macs for layer in summarize(create_model("mnist")).layers}
    assert by_name["features.0.conv"] == 24 * 24 * 20 * 25
    assert by_name["features.2.conv"] == 8 * 8 * 50 * 20 * 25
    assert by_name["hidden.conv"] == 500 * 50 * 16
    assert by_name["head"] == 5000


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'minst'; did you mean mnist"):
        create_model("minst")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (8, 8)}, "at least 16x16"),
        ({"in_channels": 2}, "1 .gray. or 3 .rgb. channels"),
        ({"act": "tanhh"}, "unknown activation"),
        ({"depth": 3}, "depth"),
        ({"spec": {"classes": ("a", "b")}, "num_classes": 3}, "2 class names"),
        ({"spec": {"mean": (0.0, 0.0)}}, "mean has 2 channels"),
        ({"spec": {"colour": "gray"}}, "colour"),
    ],
)
def test_arguments_that_make_no_network_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model("mnist", **arguments)


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_ENTRIES", dict(registry_module._ENTRIES))
    entry = model_entry("mnist")
    with pytest.raises(ValueError, match="registered twice"):
        register_model(entry.spec)(entry.build)


def test_list_models_takes_a_pattern() -> None:
    assert list_models("mnist_*") == ["mnist_kpu"]
    assert list_models("no*") == []
    assert set(list_models(pretrained=True)) <= set(MODELS)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_broken_weights_file_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_weights(create_model("mnist"), path)


def test_a_truncated_weights_file_is_one_clear_error(tmp_path: Path) -> None:
    path = save_weights(create_model("mnist"), tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        create_model("mnist", weights=path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = save_weights(create_model("mnist"), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not fit this network"):
        load_weights(create_model("mnist_kpu"), path)


def test_missing_weights_are_named() -> None:
    with pytest.raises(WeightsError, match=r"no weights file at nowhere\.safetensors"):
        create_model("mnist", weights="nowhere.safetensors")


def test_damaged_shipped_weights_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(create_model("mnist"), tmp_path / "mnist.safetensors")
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  mnist.safetensors\n")
    monkeypatch.setattr("edgeark.core.catalog.WEIGHTS_DIR", tmp_path)
    with pytest.raises(WeightsError, match="damaged"):
        create_model("mnist", pretrained=True)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_weights(create_model("mnist"), tmp_path / "w.safetensors")
    before = path.read_bytes()

    def full_disk(state: object, partial: Path, metadata: object) -> None:
        Path(partial).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeark.zoo.weights.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights(create_model("mnist"), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_spec_is_needed_and_says_so() -> None:
    with pytest.raises(ModelError, match="has no spec"):
        spec_of(torch.nn.Identity())
    assert isinstance(spec_of(create_model("mnist")), ModelSpec)


def test_the_index_is_as_the_registry_writes_it() -> None:
    """Else: make docs."""
    assert INDEX.read_text() == registry_module.index()

"""Quantisation-aware fine-tuning: its rounding is the targets', and it wins back what int8 lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.evaluate import evaluate_model
from edgeark.export.kpu.compiler.quantize import WEIGHT_ZERO, Quantization, quantize_weights
from edgeark.export.results.schema import Metric
from edgeark.training import loop, scripts
from edgeark.training.config import QatConfig, RecipeError, load_recipe
from edgeark.training.qat import (
    SCHEMES,
    RoundedNetwork,
    RoundedTensor,
    Scheme,
    plain_network,
    round_weights,
)
from edgeark.zoo import create_model, save_weights
from edgeark.zoo.layers import ConvBnAct
from edgeark.zoo.weights import read_header
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

INT8, K210 = SCHEMES["int8"], SCHEMES["k210"]
seeds = st.integers(0, 2**32 - 1)


def random_weights(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    scales = 10 ** rng.uniform(-4, 2, (5, 1, 1, 1))
    return torch.from_numpy((rng.normal(size=(5, 4, 3, 3)) * scales).astype(np.float32))


@given(seeds, st.sampled_from(sorted(SCHEMES.values(), key=str)))
@settings(max_examples=40)
def test_weights_lie_on_a_grid_and_stay_there(seed: int, scheme: Scheme) -> None:
    weights = random_weights(seed)
    rounded = round_weights(weights, scheme)
    flat = weights.flatten(1)
    scales = torch.maximum(flat.amax(1) / scheme.high, flat.amin(1) / scheme.low)[:, None]
    steps = rounded.flatten(1) / scales
    assert (steps - steps.round()).abs().max() < 1e-3
    assert scheme.low <= steps.round().min() and steps.round().max() <= scheme.high
    assert ((rounded.flatten(1) - flat).abs() <= 0.501 * scales).all()
    torch.testing.assert_close(round_weights(rounded, scheme), rounded)


@given(seeds)
@settings(max_examples=20)
def test_folding_a_normalisation_keeps_the_grid(seed: int) -> None:
    """The reason that nothing is folded while training; with factors of both signs."""
    weights = random_weights(seed)
    factors = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 1, 1, 1))).float()
    folded = round_weights(weights * factors, INT8)
    torch.testing.assert_close(folded, round_weights(weights, INT8) * factors, rtol=1e-4, atol=0)


@given(seeds)
@settings(max_examples=20)
def test_the_k210_compiler_finds_the_same_weights(seed: int) -> None:
    rounded = round_weights(random_weights(seed), K210).numpy()
    words, scales = quantize_weights(rounded.astype(np.float64))
    found = (words.astype(np.float64) - WEIGHT_ZERO) * scales[:, None, None, None]
    np.testing.assert_allclose(found, rounded, rtol=1e-5, atol=1e-12)


@given(st.floats(-100, 100), st.floats(-100, 100))
@settings(max_examples=40)
def test_tensors_are_rounded_as_bytes(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b) + 0.1
    tensor = RoundedTensor()
    x = torch.linspace(low, high, 500)
    rounded = tensor(x)
    bytes_ = Quantization.of(float(tensor.low), float(tensor.high))
    words = np.clip(np.rint(x.double().numpy() / bytes_.scale) + bytes_.zero, 0, 255)
    wanted = bytes_.scale * (words - bytes_.zero)
    assert np.abs(rounded.numpy() - wanted).max() < 1.001 * bytes_.scale  # ties, in float32
    assert len(rounded.unique()) <= 256
    assert tensor(torch.zeros(3)).tolist() == [0, 0, 0]


def test_a_range_widens_at_once_and_narrows_slowly_and_only_in_training() -> None:
    tensor = RoundedTensor()
    tensor(torch.tensor([1.0, 10.0]))
    assert (tensor.low.item(), tensor.high.item()) == (0, 10)
    tensor(torch.tensor([-5.0, 2.0]))
    assert tensor.low == -5 and 9.8 < tensor.high < 10
    for _ in range(1000):
        tensor(torch.tensor([-1.0, 2.0]))
    assert tensor.low.item() == pytest.approx(-1, abs=0.01)
    assert tensor.high.item() == pytest.approx(2, abs=0.01)
    before = tensor.high.item()
    assert tensor.eval()(torch.tensor([50.0])).item() == pytest.approx(before, abs=3 / 255)
    assert tensor.high.item() == before


def test_gradients_go_through_the_rounding() -> None:
    weights = random_weights(0).requires_grad_()
    round_weights(weights, INT8).sum().backward()
    assert weights.grad is not None and (weights.grad == 1).all()
    x = torch.randn(50, requires_grad=True)
    RoundedTensor()(x).sum().backward()
    assert x.grad is not None and (x.grad == 1).all()


NETWORKS = {
    "mnist": {},
    "mobilenet_v2_035": {"input_size": (128, 128)},
    "unet_8": {"input_size": (32, 32), "upsample": "transpose", "width": 0.5},
    "yolov5n": {"input_size": (64, 64), "num_classes": 2, "width": 0.0625},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_out_is_the_ordinary_network(name: str) -> None:
    """The same tensors by the same names, weights on the grid, and the answers near."""
    torch.manual_seed(0)
    model = create_model(name, **NETWORKS[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    x = torch.randn(2, *model.spec.input_shape[1:])  # type: ignore[union-attr]
    wanted = as_tuple(model.train()(x))
    rounded = RoundedNetwork(model, INT8)
    answers = as_tuple(rounded.train()(x))
    for answer, value in zip(answers, wanted, strict=True):
        error = (answer - value).std() / value.std()
        assert 0 < error < 0.25, "rounded, and the same function"

    plain = plain_network(rounded)
    assert [type(module) for module in plain.modules()] == kinds
    after = plain.state_dict()
    assert after.keys() == before.keys()
    for key, module in plain.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            axis = int(isinstance(module, nn.ConvTranspose2d))
            expected = round_weights(before[f"{key}.weight"], INT8, axis)
            assert torch.equal(module.weight, expected)
            assert not torch.equal(module.weight, before[f"{key}.weight"])
    again = as_tuple(rounded(x))
    assert all(torch.equal(a, b) for a, b in zip(answers, again, strict=True)), "left as it was"


def as_tuple(answer: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def spread_channels(out: Path, octaves: float) -> Path:
    """The shipped digits' function by channels of very different size, which share a scale in int8.

    A channel behind ReLU is multiplied by a power of two, and divided in the next convolution.
    """
    model = create_model("mnist_kpu", pretrained=True, spec={"dataset": "digits"})
    layers = [module for module in model.modules() if isinstance(module, ConvBnAct)]
    readers = [*(layer.conv for layer in layers[1:]), model.get_submodule("head")]
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer, reader in zip(layers, readers, strict=True):
            factors = 2 ** -(octaves * torch.rand(len(layer.bn.weight), generator=rng)).round()
            layer.bn.weight *= factors
            layer.bn.bias *= factors
            reader.get_parameter("weight").div_(factors[:, None, None])
    return save_weights(model, out)


def test_it_wins_back_what_int8_lost(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    weights = spread_channels(tmp_path / "spread.safetensors", octaves=8)
    lost = int8_figures(weights)
    assert lost.float - lost.value > 0.2, "otherwise there is nothing to win"
    recipe = load_recipe(write_recipe(), model_args={"width": 1.0}, val_size=100)
    recipe = recipe.model_copy(update={"qat": QatConfig(lr=2e-3)}).for_qat("int8", epochs=4)
    tuned = scripts.train(recipe, tmp_path / "qat", weights=weights)
    assert read_header(tuned.weights)["qat"] == "int8"
    assert int8_figures(Path(tuned.weights)).value > lost.float - 0.01


def int8_figures(weights: Path) -> Metric:
    _, row = evaluate_model("mnist_kpu", "onnxruntime", int8=True, weights=weights)
    assert row.metric is not None and row.precision == "int8"
    return row.metric


def test_a_stopped_fine_tuning_ends_with_the_same_weights(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges are part of the state."""
    recipe = load_recipe(write_recipe()).for_qat("k210", 2)
    model = create_model("mnist_kpu", spec={"dataset": "digits"}, width=0.25)
    weights = save_weights(model, tmp_path / "start.safetensors")
    whole = scripts.train(recipe, tmp_path / "whole", weights=weights)
    original = loop._Run.train_epoch

    def interrupted(self: loop._Run, progress: object) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        original(self, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train_epoch", interrupted)
        assert scripts.train(recipe, tmp_path / "parts", weights=weights).interrupted
    parts = scripts.train(recipe, tmp_path / "parts", weights=weights, resume=True)
    first, second = (load_file(report.weights) for report in (whole, parts))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_without_weights_there_is_nothing_to_fine_tune(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe()).for_qat("int8")
    with pytest.raises(RecipeError, match="--qat int8 fine-tunes trained weights: name them with"):
        scripts.train(recipe, tmp_path / "run")


def test_a_recipe_says_how_it_is_fine_tuned(write_recipe: Callable[..., Path]) -> None:
    path = write_recipe()
    assert load_recipe(path).for_qat("int8").optim.lr == pytest.approx(1e-3)
    path.write_text(path.read_text() + "[qat]\nepochs = 4\nlr = 5e-4\n")
    recipe = load_recipe(path).for_qat("k210")
    assert (recipe.epochs, recipe.optim.lr, recipe.qat.scheme) == (4, 5e-4, "k210")
    assert recipe.for_qat("k210", 7).epochs == 7
    path.write_text(path.read_text() + 'scheme = "int4"\n')
    with pytest.raises(RecipeError, match=r"qat\.scheme"):
        load_recipe(path)

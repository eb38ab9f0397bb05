"""Activations written out by exponentials become ONNX's own operators, and answer the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.export.graph.files import write_onnx
from edgeark.export.graph.network import capture_network
from edgeark.export.graph.onnx_session import open_session
from torch import Tensor, nn

Form = Callable[[Tensor], Tensor]
READ: dict[str, tuple[Form, str]] = {
    "sigmoid": (lambda x: 1 / (1 + torch.exp(-x)), "Sigmoid"),
    "its other order": (lambda x: (torch.exp(-3 * x) + 1).reciprocal(), "Sigmoid"),
    "of minus x": (lambda x: 1 / (1 + x.exp()), "Sigmoid"),
    "SiLU": (lambda x: x / (1 + torch.exp(-x)), "Sigmoid"),
    "softplus": (lambda x: torch.log(1 + x.exp()), "Softplus"),
    "softmax": (lambda x: x.exp() / x.exp().sum(-1, keepdim=True), "Softmax"),
    "of tokens": (lambda x: (e := x.flatten(2).exp()) / e.sum(-1, keepdim=True), "Softmax"),
}
OTHERS: list[Form] = [
    lambda x: 1 / (2 + torch.exp(-x)),
    lambda x: torch.log(1.5 + x.exp()),
    lambda x: x.exp() / x.exp().sum(1),
    lambda x: x.exp() / x.exp().sum((2, 3), keepdim=True),
    lambda x: x.exp() / (2 * x).exp().sum(1, keepdim=True),
]


class Around(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x)


def kinds(form: Form, path: Path, opset: int) -> set[str]:
    """Of the nodes of its file, which ONNX Runtime has computed as PyTorch does."""
    x = torch.linspace(-9, 9, 3 * 3 * 4).view(1, 3, 3, 4)
    write_onnx(Around(form).eval(), [x], path, opset)
    (answer,) = open_session(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(answer, form(x).numpy(), rtol=1e-5, atol=1e-6)
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("name", READ)
def test_a_written_form_is_read(name: str, opset: int, tmp_path: Path) -> None:
    form, operator = READ[name]
    found = kinds(form, tmp_path / "model.onnx", opset)
    assert operator in found
    assert "Exp" not in found


def test_what_only_looks_like_one_stays(tmp_path: Path) -> None:
    for index, form in enumerate(OTHERS):
        found = kinds(form, tmp_path / f"{index}.onnx", 18)
        assert "Exp" in found
        assert found.isdisjoint({"Sigmoid", "Softplus", "Softmax"})


def test_rules_see_the_sigmoid_too() -> None:
    network = capture_network(Around(lambda x: x / (1 + torch.exp(-x))), (1, 3, 3, 4))
    assert [op.kind for op in network.ops] == ["sigmoid", "mul"]

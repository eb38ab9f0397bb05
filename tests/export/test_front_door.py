"""``import edgeark``: the functions, their results, and nothing else."""

from __future__ import annotations

from pathlib import Path

import edgeark
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn


class Gated(nn.Module):
    """Hardsigmoid gates are what OpenCV gets wrong, and what has an exact mend."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y * nn.functional.hardsigmoid(y.mean((2, 3), keepdim=True))


class Pair(nn.Module):
    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return image.mean((2, 3)) + other


X = torch.zeros(1, 3, 16, 24)


def test_dir_shows_the_api_and_nothing_else() -> None:
    names = dir(edgeark)
    assert {"check", "rewrite", "export_model", "run", "verify"} <= set(names)
    assert all(getattr(edgeark, name) is not None for name in names)
    assert not {"annotations", "import_module", "cli"} & set(names)
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        _ = edgeark.exprot


def test_check_and_rewrite_take_a_module_and_an_example(tmp_path: Path) -> None:
    findings = edgeark.check(Gated(), to=["opencv"], example_inputs=X)
    assert [finding.rule for finding in findings] == ["hardsigmoid-gate"]
    assert "hardsigmoid-gate" in str(findings) and "<td>opencv</td>" in findings._repr_html_()
    done = edgeark.rewrite(Gated(), "opencv", example_inputs=X, out=str(tmp_path / "mended"))
    assert len(done.changes) == 1 and not done.left and done.max_abs_error < 1e-5
    assert "1 changed, 0 left" in str(done) and "<table>" in done._repr_html_()
    again = edgeark.check(
        f"{tmp_path}/mended/network.py:load", to="opencv", example_inputs=X.numpy()
    )
    assert list(again) == []


def test_export_verify_and_run_take_paths_as_text(tmp_path: Path) -> None:
    rows = edgeark.export_model(
        Gated(), to=["onnxruntime"], example_inputs=X, out=str(tmp_path / "out")
    )
    assert rows[0].status == "ok" and "onnxruntime" in str(rows) and "executed on" in str(rows)
    (verified,) = found = edgeark.verify(str(tmp_path / "out"))
    assert verified.status == "ok" and "ok" in str(found)  # a long path is folded there
    assert "<table>" in found._repr_html_() and "Gated" in found._repr_html_()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "gray.png")
    folder = str(tmp_path / "out" / "Gated" / "onnxruntime" / "float32")
    answer = edgeark.run(folder, str(tmp_path / "gray.png"))
    assert answer.outputs[0].shape == (1, 8, 16, 24)
    assert "1x8x16x24" in str(answer) and "1x8x16x24" in answer._repr_html_()


def test_examples_of_several_inputs_have_the_names_of_forward(tmp_path: Path) -> None:
    examples = (X, torch.zeros(1, 3))
    for given in (examples, dict(zip(("image", "other"), examples, strict=True))):
        assert list(edgeark.check(Pair(), to="onnxruntime", example_inputs=given)) == []
    (finding,) = edgeark.check(Pair(), to="ncnn", example_inputs=examples)
    assert "image 3x16x24 and other 3" in finding.reason
    with pytest.raises(edgeark.EdgearkError, match="has no batch in front"):
        edgeark.check(nn.Linear(3, 2), to="mnn", example_inputs=torch.zeros(3))

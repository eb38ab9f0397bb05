"""Qualcomm's HTP, by its emulator: answers, precisions, and what is done to a network first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.export.backends.qnn import target as qnn_target
from edgeark.export.backends.qnn.chips import CHIPS
from edgeark.export.backends.qnn.target import Qnn, mend
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_session import open_session
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target, find_targets, list_targets
from edgeark.export.targets.base import Artifact, Conversion, Precision, Quantization
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, Heads, make_images, prove, settle
from support.target_base import installed_target
from torch import Tensor, nn

SHAPE = SPEC.input_shape[1:]


def converted(
    network: nn.Module, folder: Path, precision: Precision = "int8", *, mixed: bool = False
) -> tuple[Qnn, Artifact]:
    target = installed_target("qnn:v73")
    assert isinstance(target, Qnn)
    calibration = make_images(32, SHAPE, seed=1) if precision == "int8" else None
    how = Quantization(mixed=mixed)
    graph = Graph(network, SPEC, folder)
    job = Conversion(graph, precision, folder, folder / "log.txt", calibration, how)
    return target, target.convert(job)


def sqnr_db(network: nn.Module, target: Qnn, artifact: Artifact, folder: Path) -> list[float]:
    """Of each output."""
    images = make_images(6, SHAPE, seed=0)
    result = target.run(artifact, images, folder / "log.txt")
    wanted = Graph(network, SPEC, folder).reference(images)
    pairs = zip(wanted, result.outputs, strict=True)
    return [compare([one], [other]).sqnr_db for one, other in pairs]


@pytest.mark.parametrize(
    ("chip", "precision"), [("v68", "int8"), ("v73", "float16"), ("v73", "int8"), ("v81", "int8")]
)
def test_outputs_are_pytorchs_in_its_order(chip: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = settle(Heads(), SPEC, tmp_path)
    target = installed_target(f"qnn:{chip}")
    artifact, reference = prove(target, graph, precision, tmp_path)
    assert isinstance(target, Qnn) and artifact.files == ("model_ctx.onnx",)
    (node,) = (n for n in onnx.load(artifact.path).graph.node if n.op_type == "EPContext")
    given = {each.name: each for each in node.attribute}
    assert given["embed_mode"].i == 1 and len(given["ep_cache_context"].s) > 1000
    placement = target.placement(artifact)
    assert placement.npu_mac_fraction == 1.0 and placement.cpu_ops == ()
    assert {row["target"] for row in placement.layers} == {"HTP"}
    assert sum(row["macs"] for row in placement.layers) == artifact.settings["macs"] > 0
    rows = {row["module"] for row in placement.layers if row["macs"]}
    assert {"stem.0", "linear", "heads.8"} <= rows
    assert len(reference) == 12


def test_generations() -> None:
    names = [name for name in list_targets() if name.startswith("qnn")]
    assert names == [f"qnn:{arch}" for arch in CHIPS]
    assert find_target("qnn:v68").supported_precisions() == ("int8",)
    assert find_target("qnn:v75").supported_precisions() == ("float16", "int8")
    assert "qnn:v68" in {each.full_name for each in find_targets("npu", lambda _: True)}
    assert len({htp.soc_model for htp in CHIPS.values()}) == len(CHIPS)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 5, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


def test_sixteen_bits_are_what_they_say(tmp_path: Path) -> None:
    """A16W8 beats A8W8, and float16 is computed in 16 bits, which wants the chip named."""
    torch.manual_seed(0)
    network, found = Small().eval(), {}
    for name, precision, mixed in (
        ("a8", "int8", False),
        ("a16", "int8", True),
        ("half", "float16", False),
    ):
        (out := tmp_path / name).mkdir()
        target, artifact = converted(network, out, precision, mixed=mixed)
        (found[name],) = sqnr_db(network, target, artifact, out)
        assert artifact.settings.get("wide_modules", []) == (["first", "last"] if mixed else [])
    assert 20 < found["a8"] < found["a16"] - 6 and found["a16"] < found["half"] < 90


def test_a_logarithm_of_sixteen_bits_is_wrong_and_said(tmp_path: Path) -> None:
    class Log(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.last((self.first(x).abs() + 1).log())

    torch.manual_seed(0)
    network = Log().eval()
    for mixed in (False, True):
        (out := tmp_path / str(mixed)).mkdir()
        target, artifact = converted(network, out, mixed=mixed)
        (found,) = sqnr_db(network, target, artifact, out)
        assert ["logarithms" in each.words for each in artifact.diagnostics] == [True] * mixed
        assert (found < 10) == mixed


class Normed(nn.Module):
    """A layer norm, GELU and a norm of vectors: one operator each, or int8 is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x).flatten(2).transpose(1, 2))
        return self.last(nn.functional.normalize(nn.functional.gelu(x), dim=2))


def test_norms_and_gelu_are_on_the_htp(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Normed().eval()
    target, artifact = converted(network, tmp_path)
    assert min(sqnr_db(network, target, artifact, tmp_path)) > 20
    kinds = {row["op"] for row in target.placement(artifact).layers}
    assert {"LayerNorm", "Gelu", "L2Norm"} <= kinds


def test_an_operator_that_is_not_on_the_htp_ends_the_export(tmp_path: Path) -> None:
    class Erf(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.erf(self.first(x)))

    with pytest.raises(ToolchainError, match=r"not on the HTP: Erf; first .*: .*not supported"):
        converted(Erf().eval(), tmp_path, "float16")


def test_a_manifest_has_no_say_in_the_providers_options(tmp_path: Path) -> None:
    """One of them names a library that is loaded."""
    target, artifact = converted(Small().eval(), tmp_path)
    settings = {**artifact.settings, "options": {"backend_path": str(tmp_path / "evil.so")}}
    stranger = replace(artifact, settings=settings)
    images = make_images(1, SHAPE, seed=0)
    answers = [target.run_untrusted(a, images, tmp_path / "log.txt") for a in (artifact, stranger)]
    assert all(answer is not None for answer in answers)
    assert np.array_equal(*(answer.outputs[0] for answer in answers if answer))


class Mended(nn.Module):
    """What the compiler gets wrong as it is; an output each."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.parts = nn.ModuleList(
            [
                nn.AvgPool2d(3, 2, 1, ceil_mode=True),
                nn.AvgPool2d(3, 1, 1, count_include_pad=False),
                nn.AvgPool2d((3, 1), 1, (1, 0)),
                nn.ConvTranspose2d(8, 16, 3, 2, 1, groups=4),
                nn.ConvTranspose2d(8, 8, 2, 3, 1, output_padding=2, groups=8),
            ]
        )
        self.last = nn.ModuleList(nn.Conv2d(n, 4, 1) for n in (8, 8, 8, 16, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.first(x)
        return tuple(last(part(x)) for last, part in zip(self.last, self.parts, strict=True))


def test_mends_are_equal_and_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fails as it is in one of the precisions at least; see :func:`mend`."""
    torch.manual_seed(0)
    network = Mended().eval()
    given = onnx.load(Graph(network, SPEC, tmp_path).onnx(18))
    mended, x = mend(given), torch.randn(1, *SHAPE)
    kinds = {node.op_type for node in mended.graph.node}
    assert "AveragePool" not in kinds and "ConvTranspose" in kinds
    (name,) = (value.name for value in mended.graph.input)
    answers = open_session(mended).run(None, {name: x.numpy()})
    for answer, wanted in zip(answers, network(x), strict=True):
        torch.testing.assert_close(torch.from_numpy(answer), wanted, rtol=1e-4, atol=1e-4)
    wrong: set[int] = set()
    for precision, least in (("float16", 45), ("int8", 20)):
        (right := tmp_path / precision).mkdir()
        found = sqnr_db(network, *converted(network, right, precision), right)
        assert min(found) > least
        (plain := tmp_path / f"plain-{precision}").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(qnn_target, "mend", lambda proto: proto)
            found = sqnr_db(network, *converted(network, plain, precision), plain)
        wrong |= {index for index, db in enumerate(found) if db < least - 8}
    assert wrong == {0, 1, 2, 3, 4}

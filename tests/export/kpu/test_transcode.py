"""kmodel v5 against v3: nncase's simulator and ours run the same convolutions, to the bit."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.k210.maixpy import write_maixpy_bundle
from edgeark.export.kpu import Kmodel, KmodelError, Simulator, read_kmodel, write_kmodel
from edgeark.export.kpu import elementwise as e
from edgeark.export.kpu import maps as m
from edgeark.export.kpu.kmodel_v5 import read_modules
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext, prepare
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets import find_target
from edgeark.zoo.spec import ModelSpec
from edgeark.zoo.tasks.classification import top_k
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.kmodel_transcode import transcode
from support.maixpy_board import run_main
from support.nncase_cases import COLORS, SPEC, Subsampled, convert, make_images, set_batch_norm
from support.target_base import installed_target
from torch import Tensor, nn

COUNT = 200


class TwoOutputs(nn.Module):
    """The deeper result comes first, and is the smaller one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 6, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        return self.deep(x), x


def fully_connected() -> nn.Module:
    features = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AvgPool2d((16, 20)))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(8, 5))


@pytest.fixture(scope="module")
def toolchain() -> None:
    installed_target("k210-nncase")


needs_toolchain = pytest.mark.usefixtures("toolchain")


def compile_v5(model: nn.Module, folder: Path, spec: ModelSpec) -> tuple[bytes, list[np.ndarray]]:
    """nncase's kmodel, and what its simulator says of ``make_images(8, 2, spec)``."""
    torch.manual_seed(0)
    set_batch_norm(model, make_images(16, 3, spec))
    artifact, _, _ = convert(model, folder, spec)
    target = find_target("k210-nncase")
    outputs = target.run(artifact, make_images(8, 2, spec), folder / "log.txt").outputs
    return artifact.path.read_bytes(), outputs


@needs_toolchain
@pytest.mark.parametrize("spec", [SPEC, COLORS], ids=["0..255", "normalised"])
@pytest.mark.parametrize("network", [Subsampled, TwoOutputs])
def test_convolutions_agree_with_nncase_to_the_bit(
    network: type[nn.Module], spec: ModelSpec, tmp_path: Path
) -> None:
    data, wanted = compile_v5(network(), tmp_path, spec)
    kmodel = read_kmodel(write_kmodel(transcode(data)))
    outputs = Simulator(kmodel).run(make_images(8, 2, spec))
    assert len(outputs) == len(wanted)
    for found, theirs in zip(outputs, wanted, strict=True):
        assert theirs.std() > 0
        np.testing.assert_array_equal(found, theirs)


@needs_toolchain
def test_a_fully_connected_layer_runs_on_the_kpu(tmp_path: Path) -> None:
    """As a convolution of a 4x4 map, of which one pixel counts.

    A float mean goes in: had it been near the middle between two bytes, they could differ by one.
    """
    data, (wanted,) = compile_v5(fully_connected(), tmp_path, SPEC)
    kmodel = transcode(data)
    assert any(isinstance(layer, m.AddPadding) for layer in kmodel.layers)
    (found,) = Simulator(read_kmodel(write_kmodel(kmodel))).run(make_images(8, 2, SPEC))
    np.testing.assert_array_equal(found.reshape(8, 5), wanted)


@pytest.fixture(scope="module")
def digits(
    toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EvalContext, ExportResult, Kmodel]:
    """``mnist_kpu`` with its trained weights by nncase, proven on its simulator; and as v3."""
    folder = tmp_path_factory.mktemp("digits")
    context = prepare("mnist_kpu", folder, limit=COUNT)
    row = export_one(context, find_target("k210-nncase"), "int8", folder / "exports")
    assert row.artifact is not None
    return context, row, transcode(row.artifact.read_bytes())


def test_a_trained_network_agrees_with_nncase(
    digits: tuple[EvalContext, ExportResult, Kmodel],
) -> None:
    """The means of 49 numbers are sums of floats, in another order: hence the last bits."""
    context, row, kmodel = digits
    (found,) = Simulator(kmodel).run(context.test.images)
    found, theirs = found.reshape(COUNT, -1), row.outputs[0].reshape(COUNT, -1)
    assert np.abs(found - theirs).max() < 4e-6
    np.testing.assert_array_equal(found.argmax(1), theirs.argmax(1))
    # A mean is ``scale * sum / 49 + bias``: the sums of bytes are whole numbers again.
    dequantize, pool = kmodel.layers[-2:]
    assert isinstance(dequantize, e.Dequantize) and isinstance(pool, m.GlobalAveragePool)
    steps = dequantize.scale / pool.kernel_size
    sums = (theirs.astype(np.float64) - dequantize.bias) / steps
    assert np.abs(sums - np.rint(sums)).max() < 0.01
    ours = [a for layer, a in Simulator(kmodel).trace(context.test.images[:64]) if layer.on_kpu][-1]
    np.testing.assert_array_equal(np.rint(sums[:64]), ours.sum((2, 3)))


def test_real_digits_through_the_boards_script(
    digits: tuple[EvalContext, ExportResult, Kmodel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trained network on real images, from the camera's window to the class."""
    context, row, kmodel = digits
    assert row.artifact is not None
    export = tmp_path / "export"
    export.mkdir()
    content = write_kmodel(kmodel)
    (export / "model.kmodel").write_bytes(content)
    manifest = json.loads((row.artifact.parent / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (export / "manifest.json").write_text(json.dumps(manifest))
    shutil.copyfile(row.artifact.parent / "golden.npz", export / "golden.npz")
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder

    images = context.test.images[:10]
    scenes = list(images.repeat(8, axis=2).repeat(8, axis=3))
    board, answers = run_main(bundle, scenes, monkeypatch)
    np.testing.assert_array_equal(board.inputs, images)
    wanted = [best[0] for best in top_k(row.outputs[0][:10], context.spec.classes, 1)]
    assert [answer[:2] for answer in answers] == [(w["index"], w["name"]) for w in wanted]
    assert np.mean([answer[0] for answer in answers] == context.test.labels[:10]) > 0.8


@needs_toolchain
@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (nn.MaxPool2d((16, 20)), "a reduction of kind 2"),
        (nn.Softmax(1), "operation 0x24 of nncase's has no counterpart here"),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 1)), "has no counterpart"),
    ],
)
def test_what_v3_does_otherwise_is_named(tail: nn.Module, message: str, tmp_path: Path) -> None:
    data, _ = compile_v5(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), tail), tmp_path, SPEC)
    with pytest.raises(KmodelError, match=message):
        transcode(data)


@pytest.fixture(scope="module")
def files(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    networks = (TwoOutputs(), fully_connected())
    folders = (tmp_path_factory.mktemp("file") for _ in networks)
    return [compile_v5(*pair, SPEC)[0] for pair in zip(networks, folders, strict=True)]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_file_is_an_error(files: list[bytes], data: st.DataObject) -> None:
    broken = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from([len(broken), data.draw(st.integers(0, len(broken)))]))
    try:
        Simulator(transcode(bytes(broken[:length])))
    except KmodelError as error:
        assert "\n" not in str(error)


def test_another_format_is_an_error() -> None:
    for data in (b"", b"\3\0\0\0" + bytes(60), b"LDMK\4\0\0\0" + bytes(60)):
        with pytest.raises(KmodelError):
            read_modules(data)
    with pytest.raises(KmodelError, match="one program for the CPU"):
        transcode(b"LDMK\5\0\0\0\x20\0\0\0" + bytes(20))

"""The base tester of targets: a family's test is a subclass that names the target and its facts.

Each test runs the real converter and the real runtime (the toolchain is installed on first use) on
trained weights and real images: of MNIST, scikit-learn's digits take the place where it is not.
"""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from edgeark.errors import DataError
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext, prepare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Evidence, Precision, Target
from edgeark.export.toolchains import ToolchainUnavailable
from edgeark.export.verify import reopen, verify_export
from edgeark.zoo import model_entry

TEST_COUNT = 1000
COLOR_COUNT = 200  # of networks that a simulator takes 20 ms an image for, and more
# Detectors take a hundred times as long: test_engines_multi_output.py has small ones. The figures
# of every trained network on every target are those of ``edgeark matrix``.
GRAY_AND_COLOR = ("mnist", "mnist_kpu", "mobilenet_v1_025")


def installed_target(name: str) -> Target:
    """The target with its toolchain installed; skips where this machine cannot have that."""
    target = find_target(name)
    for toolchain in target.toolchains():
        try:
            toolchain.ensure()
        except ToolchainUnavailable as error:
            pytest.skip(str(error))
    return target


@functools.cache
def _prepared(name: str) -> EvalContext | DataError:
    folder = tempfile.TemporaryDirectory(prefix="edgeark-test-")
    atexit.register(folder.cleanup)
    count = TEST_COUNT if model_entry(name).spec.in_channels == 1 else COLOR_COUNT
    try:
        return prepare(name, Path(folder.name), limit=count)
    except DataError as error:
        return error


def prepared(name: str) -> EvalContext:
    """A trained model with some of its test images, once for all tests of this process.

    Skips where this machine lacks the images.
    """
    context = _prepared(name)
    if isinstance(context, DataError):
        pytest.skip(f"needs the data set of {name}: {context}")
    return context


class TargetTester:
    """Subclass it, name it ``Test...``, and set ``target``."""

    target: ClassVar[str]
    evidence: ClassVar[Evidence] = Evidence.EXECUTED
    precisions: ClassVar[tuple[Precision, ...]] = ("float32", "int8")
    npu: ClassVar[bool] = False
    models: ClassVar[Sequence[str]] = GRAY_AND_COLOR
    reopened: ClassVar[str] = "mnist"  # the model whose exports are run again

    @pytest.fixture(scope="class")
    @classmethod
    def chosen(cls) -> Target:
        return installed_target(cls.target)

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "context" in metafunc.fixturenames:
            metafunc.parametrize("context", cls.models, indirect=True, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def context(cls, request: pytest.FixtureRequest) -> EvalContext:
        return prepared(request.param)

    def test_declares_what_it_can(self, chosen: Target) -> None:
        assert chosen.full_name == self.target
        assert chosen.evidence is self.evidence
        assert chosen.supported_precisions() == self.precisions
        assert all(chosen.versions().values())

    def test_exports_are_proven(self, chosen: Target, context: EvalContext, tmp_path: Path) -> None:
        """Within the limits of its precision, with a folder that a board engineer can use."""
        for precision in self.precisions:
            row = export_one(context, chosen, precision, tmp_path)
            assert row.status == "ok", f"{precision}: {row.message}"
            assert (
                row.metric is not None
                and row.max_abs_error is not None
                and row.artifact is not None
            )
            assert row.metric.n == len(context.test)
            assert row.metric.value > 0.8
            assert row.run_ms is not None and row.run_ms > 0
            assert row.size_bytes == sum(
                (row.artifact.parent / name["name"]).stat().st_size
                for name in self.manifest(row.artifact.parent)["files"]
            )
            if precision == "int8":
                assert row.max_abs_error > 1e-4, "nothing was quantised"
            self.check_placement(row.placement)
            golden = np.load(row.artifact.parent / "golden.npz")
            assert golden["input"].shape == (8, *context.spec.input_shape[1:])
            assert np.array_equal(golden["output0"], row.outputs[0][:8])
            if context.name == self.reopened:
                self.check_again(row.artifact.parent, tmp_path / "elsewhere" / precision)

    def check_again(self, folder: Path, elsewhere: Path) -> None:
        """What the folder holds is enough: another machine has nothing else."""
        elsewhere.parent.mkdir(exist_ok=True)
        again = verify_export(reopen(folder.rename(elsewhere)))
        assert again.status == "ok" and again.repeat_error is not None, again.message
        assert again.evidence == self.evidence.value

    def check_placement(self, placement: object) -> None:
        assert (placement is not None) == self.npu

    def manifest(self, folder: Path) -> dict:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["target"] == self.target
        assert manifest["input"]["normalization"]
        return manifest

    def test_one_image_through_the_targets_own_normalisation(
        self, chosen: Target, context: EvalContext, tmp_path: Path
    ) -> None:
        """Raw pixels in: a mean forgotten, or subtracted twice, cannot pass."""
        precision = self.precisions[0]
        image = np.full((1, *context.spec.input_shape[1:]), 200, np.uint8)
        image[:, :, 5:20, 8:15] = 17
        log = tmp_path / "log.txt"
        calibration = context.calibration.images if precision == "int8" else None
        job = Conversion(context.graph, precision, tmp_path, log, calibration)
        artifact = chosen.convert(job)
        answer = chosen.run(artifact, image, log).outputs[0]
        wanted = context.graph.reference(image)[0]
        tolerance = {"float32": 1e-4, "float16": 2e-2, "int8": 0.2}[precision]
        np.testing.assert_allclose(answer, wanted, atol=tolerance * max(1, np.abs(wanted).max()))

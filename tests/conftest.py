"""What the tests share: where the data is, and recipes that train in seconds."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark import cli
from edgeark.export.toolchains.torch_exports import remember_operators
from hypothesis import HealthCheck, settings
from support.command import Result, Run
from support.edge_post_c import Library, build_library
from torch.jit._recursive import concrete_type_store
from torch.onnx._internal.exporter import _registration

# An example that nobody met before fails where somebody looks for it: --hypothesis-profile=explore
for name, is_same in (("same", True), ("explore", False)):
    settings.register_profile(
        name,
        deadline=None,  # the machine may be busy
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=is_same,
    )
settings.load_profile("same")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The networks in the tables of a test file have the same weights at every run."""
    torch.manual_seed(0)
    return (yield)


# The files that take longest begin, so that no worker is left alone with one in the end.
LONGEST = (
    *("test_nncase.py", "test_targets.py", "test_training.py"),
    *("test_rewrite_engines.py", "test_rewrite_forms.py"),
    *("test_executorch.py", "test_accuracy.py", "test_ncnn.py", "test_executorch_rules.py"),
    *("test_nncase_tflite.py", "test_rule_examples.py", "test_litert.py", "test_k210_nncase.py"),
    *("test_tensorrt.py", "test_graph.py", "test_int8_inputs.py", "test_projects.py"),
    *("test_ethos_u_rules.py", "test_k210.py", "test_detection_training.py", "test_wheel.py"),
    *("test_compiled_alone.py", "test_rknn_zoo.py", "test_onnx_module.py", "test_cli.py"),
    *("test_tflm_rules.py", "test_tflm_firmware.py"),
    *("test_qnn_programs.py", "test_qnn_rules.py", "test_qnn.py"),
)


# Others whose tests take seconds each, or run toolchains.
SLOW = (
    *("test_python_programs.py", "test_segmentation_training.py", "test_transcode.py"),
    *("test_cpp_programs.py", "test_cpp_stand_ins.py", "test_cpp_model.py", "test_web_page.py"),
    "test_board_pages.py",
    *("test_yolox.py", "test_qat.py", "test_robustness.py", "test_lint.py", "test_plugin.py"),
    *("test_run.py", "test_optimize.py", "test_rewrite_command.py", "test_every_operator.py"),
    "test_rewrite.py",
    *("test_workers.py", "test_matrix.py", "test_edge_post_build.py", "test_toolchains.py"),
    "test_conformance.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order by file, and mark what needs a toolchain, or takes its time."""
    backends = Path(__file__).parent / "export/backends"
    for item in items:
        if item.path.is_relative_to(backends):
            vendor = item.path.relative_to(backends).parts[0].removesuffix(".py")
            item.add_marker(pytest.mark.toolchain(vendor))
        if item.path.name in (*LONGEST, *SLOW):
            item.add_marker(pytest.mark.slow)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONGEST)))


def pytest_runtest_setup() -> None:
    """And so have those that a test makes."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small networks gain nothing from more, and lose much where the machine is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def onnx_functions_once() -> Generator[None]:
    """PyTorch's exporter parses 500 ONNX functions at every export: more than half of its time."""
    registry = _registration.ONNXRegistry
    parse = registry.from_torchlib
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(parse)))
        yield


@pytest.fixture(scope="session", autouse=True)
def operators_once() -> None:
    """And torch.export asks for all 1,300 composite operators at every call."""
    remember_operators()


@pytest.fixture(scope="session", autouse=True)
def a_short_garbage_collection() -> Generator[None]:
    """What was imported stays: looking through it takes a sixth of the time of an export."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def what_is_left_stays(a_short_garbage_collection: None) -> None:
    """TorchScript keeps a class of each module that was traced, and fx visits all in each trace."""
    concrete_type_store.type_store.clear()
    concrete_type_store.methods_compiled.clear()
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def edge_post(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The C library of board programs."""
    return build_library(tmp_path_factory.mktemp("edge_post"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; what it prints is captured at the descriptors."""
    monkeypatch.delenv("EDGEARK_OFFLINE", raising=False)
    monkeypatch.setenv("EDGEARK_TRUST", "0")  # put back at the end, whatever a command sets

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["edgeark", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """A recipe file that trains a quarter-width network on scikit-learn's digits in seconds."""

    def write(**fields: object) -> Path:
        values: dict[str, object] = {
            "model": "mnist_kpu",
            "dataset": "digits",
            "script": "mnist",
            "epochs": 3,
            "batch_size": 64,
            "val_size": 200,
            **fields,
        }
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        lines += ["[model_args]", "width = 0.25"]
        lines += ["[optim]", "lr = 1e-2", "ema_decay = 0.5", "warmup_epochs = 0.5"]
        lines += ["[augment]", "degrees = 10", "translate = 0.05"]
        path = tmp_path / "digits.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)

"""What is rewritten the engines compute, and what is left of their rules' examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.rewrite import Rewritten, rewrite
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.export.targets.isolated import WorkerTarget
from support.settled import SPEC, make_images
from support.target_base import installed_target
from support.tries import try_networks

# What has no rule, as findings say it
_UNKNOWN = ["col2im", "diagonal", "__lshift__", "__rshift__"]
LEFT = {
    "mnn": {
        *["atan2", "isnan", "nan_to_num", "xlogy", "col2im", "fmod", "index_put"],
        *(
            "an LSTM",
            "eq of floats",
            "ne of floats",
            "bicubic grid_sample",
            "grid_sample with reflection",
            "a transposed 3-D convolution",
            "a 3-D convolution with dilation [2, 2, 2]",
        ),
    },
    "openvino": {f"{kind} between two max pools" for kind in ("gelu", "silu", "hardswish")},
    "onnxruntime": set(),
    "opencv": {
        *_UNKNOWN,
        *[
            "conv_transpose3d",
            "max_pool2d_with_indices",
            "grid_sampler",
            "tril",
            "triu",
            "bitwise_not",
        ],
        *["isinf", "isfinite", "isnan", "atan2", "nan_to_num", "xlogy"],
        "a floor division of integers",
        "the logarithm of a sum with an exponential",
        "a transposed convolution with dilation (2, 2)",
        "a max pool with dilation [2]",
        "an output of 1",
    },
    "opencv5": {
        *_UNKNOWN,
        *("gru", "max_unpool2d", "trace", "bicubic grid_sample", "a floor division of integers"),
        "the logarithm of a sum with an exponential",
    },
}


def rewritten_examples(name: str) -> tuple[list[Rewritten], set[str]]:
    """Of a target: the bad examples of which nothing is left, and what is left of others."""
    done, left, target = [], set(), find_target(name)
    for example in dict.fromkeys(e for rule in target.rules() for e in rule.examples):
        one = rewrite(example.network("bad"), example.input_shape("bad"), [target])
        left |= {finding.reason.partition(": ")[0] for finding in one.left}
        done += [] if one.left else [one]
    return done, left


@pytest.mark.parametrize("name", ["mnn", "openvino", "opencv", "opencv5"])
def test_the_engine_computes_what_is_rewritten(name: str, tmp_path: Path) -> None:
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    done, left = rewritten_examples(name)
    assert left == LEFT[name]
    tried = try_networks(target, [(one.model, SPEC) for one in done], tmp_path)
    wrong = [(one.changes, t) for one, t in zip(done, tried, strict=True)]
    assert [(changes, t) for changes, t in wrong if t.error or t.sqnr_db < 75] == []


def test_onnxruntime_computes_what_is_rewritten(tmp_path: Path) -> None:
    done, left = rewritten_examples("onnxruntime")
    assert left == LEFT["onnxruntime"]
    images, target = make_images(4, SPEC.input_shape[1:], seed=0), OnnxRuntime()
    for index, one in enumerate(done):
        folder = tmp_path / str(index)
        folder.mkdir()
        graph = Graph(one.model, SPEC, folder)
        artifact = target.convert(Conversion(graph, "float32", folder, folder / "log.txt"))
        outputs = target.run(artifact, images, folder / "log.txt").outputs
        assert compare(graph.reference(images), outputs).sqnr_db > 75, one.changes

"""Whether two forms of an ONNX file compute the same: ONNX Runtime's answers on seeded noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, helper

from .onnx_operators.registry import OnnxError
from .onnx_session import open_session

_TOLERANCE = 1e-4  # of the output's peak
_QUANTIZED_TOLERANCE = 2e-2  # of the output's root mean square: a step more or less here and there
_FLIPPED = 1e-3  # the share of indices and conditions that rounding may turn
_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
_LARGEST_INDEX = 2  # random whole numbers: they may be indices of anything


def make_noise(proto: ModelProto, seed: int) -> dict[str, np.ndarray]:
    """By input: normal noise, or whole numbers below 2; sizes have to be fixed."""
    rng = np.random.default_rng(seed)
    given = {tensor.name for tensor in proto.graph.initializer}
    feeds = {}
    for value in proto.graph.input:
        if value.name in given:
            continue
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [d.dim_value for d in kind.shape.dim]
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype == np.uint8:
            feeds[value.name] = rng.integers(0, 256, shape, np.uint8)
        else:
            feeds[value.name] = rng.integers(0, _LARGEST_INDEX, shape).astype(dtype)
    return feeds


def run_onnx(proto: ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ONNX Runtime's answers by name, its optimizations off.

    Raises:
        OnnxError: it cannot run the file.
    """
    try:
        session = open_session(proto, optimization="none", quiet=True)
        names = [output.name for output in session.get_outputs()]
        results = session.run(names, dict(feeds))
        return {name: np.asarray(v) for name, v in zip(names, results, strict=True)}
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OnnxError(f"ONNX Runtime cannot run the file: {reason}") from error


def is_quantized(proto: ModelProto) -> bool:
    """Whether it rounds on its way, so that rounding errors grow to whole steps."""
    return any(node.op_type in _QUANTIZED for node in proto.graph.node)


def prove_equal(before: ModelProto, after: ModelProto, what: str, seed: int = 0) -> float:
    """Compare two files on the same noise; see :func:`check_equal`."""
    feeds = make_noise(before, seed)
    wanted, got = run_onnx(before, feeds), run_onnx(after, feeds)
    return check_equal(wanted, got, is_quantized(before), what)


def check_equal(
    wanted: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], quantized: bool, what: str
) -> float:
    """The largest error of an output, relative to its peak (its RMS, if ``quantized``).

    Raises:
        OnnxError: an output is off by more than rounding; ``what`` is the message's subject.
    """
    if list(wanted) != list(got):
        raise OnnxError(f"{what} has outputs {', '.join(got)} instead of {', '.join(wanted)}")
    limit = _QUANTIZED_TOLERANCE if quantized else _TOLERANCE
    worst = 0.0
    for name, a in wanted.items():
        b = got[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise OnnxError(
                f"{what} gives {b.dtype} {b.shape} as {name}, ONNX Runtime {a.dtype} {a.shape}"
            )
        error, allowed = _distance(a, b, quantized), limit
        if not np.issubdtype(a.dtype, np.floating) and not quantized:
            allowed = _FLIPPED
        if a.dtype == np.float16:
            allowed = max(allowed, 1e-2)
        if not error <= allowed:
            raise OnnxError(
                f"{what} is not equal to the file: {name} is off by {error:.2g} of its peak, where "
                f"{allowed:.0e} is rounding; please report it with this file"
            )
        worst = max(worst, error)
    return worst


def _distance(a: np.ndarray, b: np.ndarray, quantized: bool) -> float:
    if a.size == 0:
        return 0.0
    if not np.issubdtype(a.dtype, np.floating) and not quantized:
        return float(np.mean(a != b))
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(x - y))
    finite = np.where(np.isfinite(x), np.abs(x), 0.0)
    measure = (lambda v: np.sqrt(np.mean(v**2))) if quantized else np.max
    peak = float(measure(finite))
    error = float(measure(difference))
    return error / peak if peak > 0 else error

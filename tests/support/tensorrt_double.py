"""A stand-in for TensorRT 10 and 11 and CUDA's runtime, for tests: ONNX Runtime on host memory.

``install`` writes the packages ``tensorrt`` and ``cuda.bindings`` into a folder for ``PYTHONPATH``.
Only what ``run_tensorrt.py`` needs is there, with the documented names, types and results; what
version 11 no longer has (``BuilderFlag.FP16``) is not.
"""

from __future__ import annotations

from pathlib import Path

TENSORRT = """
import ctypes, json, os
import numpy as np


def call(*words):
    with open(os.environ["TENSORRT_CALLS"], "a") as file:
        file.write(json.dumps(words) + "\\n")


class Logger:
    WARNING = 2
    def __init__(self, severity): pass


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class BuilderFlag:
    TF32 = 7


class Network:
    model = None


class Config:
    def clear_flag(self, flag): call("clear_flag", flag)


class Builder:
    def __init__(self, logger): assert isinstance(logger, Logger)
    def create_network(self, flags): call("create_network", flags); return Network()
    def create_builder_config(self): return Config()
    def build_serialized_network(self, network, config):
        assert isinstance(config, Config)
        return None if os.environ.get("TENSORRT_FAIL") == "build" else network.model


class OnnxParser:
    num_errors = 1
    def __init__(self, network, logger): self.network = network
    def get_error(self, index): return "node 3: told to fail"
    def parse_from_file(self, path):
        if os.environ.get("TENSORRT_FAIL") == "parse": return False
        with open(path, "rb") as file: self.network.model = file.read()
        return True


class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, plan): call("deserialize", len(plan)); return Engine(plan)


class Engine:
    def __init__(self, plan):
        import onnxruntime
        self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
    def create_execution_context(self): return Context(self.session)


class Context:
    def __init__(self, session): self.session, self.addresses = session, {}
    def set_tensor_address(self, name, address):
        assert type(address) is int
        self.addresses[name] = address
        return True
    def execute_async_v3(self, stream_handle):
        assert type(stream_handle) is int
        (entry,) = self.session.get_inputs()
        x = at(self.addresses[entry.name], entry.shape).copy()
        outputs = self.session.run(None, {entry.name: x})
        for value, output in zip(self.session.get_outputs(), outputs):
            at(self.addresses[value.name], output.shape)[...] = output
        return True


def at(address, shape):
    kind = ctypes.c_float * int(np.prod(shape))
    return np.frombuffer(kind.from_address(address), np.float32).reshape(shape)
"""
CUDA = """
import ctypes, enum

memory = {}


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Stream:
    def __int__(self): return 7


def cudaMalloc(size):
    buffer = ctypes.create_string_buffer(size)
    memory[ctypes.addressof(buffer)] = buffer
    return cudaError_t.cudaSuccess, ctypes.addressof(buffer)


def cudaMemcpy(target, source, count, kind):
    device = target if kind is cudaMemcpyKind.cudaMemcpyHostToDevice else source
    assert count == ctypes.sizeof(memory[device])
    ctypes.memmove(target, source, count)
    return (cudaError_t.cudaSuccess,)


def cudaFree(address):
    del memory[address]
    return (cudaError_t.cudaSuccess,)


def cudaStreamCreate(): return cudaError_t.cudaSuccess, Stream()
def cudaStreamSynchronize(stream): return (cudaError_t.cudaSuccess,)
"""


def install(folder: Path) -> Path:
    """Write both packages; the folder."""
    (folder / "cuda" / "bindings").mkdir(parents=True)
    (folder / "tensorrt.py").write_text(TENSORRT)
    (folder / "cuda" / "__init__.py").write_text("")
    (folder / "cuda" / "bindings" / "__init__.py").write_text("")
    (folder / "cuda" / "bindings" / "runtime.py").write_text(CUDA)
    return folder

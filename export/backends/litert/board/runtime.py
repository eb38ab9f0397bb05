"""LiteRT (TensorFlow Lite): the network from its file, arrays in, arrays out.

SPDX-License-Identifier: Apache-2.0
"""

import importlib
import os
import re

_MODULES = ("ai_edge_litert", "tflite_runtime")


class Runtime:
    def __init__(self, facts, folder, options):
        self.module, interpreter = _import()
        path = os.path.join(folder, facts["files"][0]["name"])
        delegates = []
        if options.delegate:
            delegates = [
                importlib.import_module(interpreter.__module__).load_delegate(options.delegate)
            ]
        self.interpreter = interpreter(
            path, num_threads=options.threads or None, experimental_delegates=delegates
        )
        self.runner = self.interpreter.get_signature_runner()
        (self.input,) = self.runner.get_input_details()
        self.outputs = sorted(self.runner.get_output_details(), key=_numbers)

    @staticmethod
    def add_options(add):
        add("--delegate", metavar="LIB", help="a delegate's library, for an NPU or GPU")

    def __call__(self, x):
        answers = self.runner(**{self.input: x})
        return [answers[name] for name in self.outputs]

    def versions(self):
        return {"name": self.module, "version": _version(self.module)}


def _numbers(name):
    """The converter numbers the outputs in the network's order; output_10 comes after output_2."""
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _import():
    for module in _MODULES:
        try:
            return module, importlib.import_module(module + ".interpreter").Interpreter
        except ImportError:
            continue
    raise ImportError("neither %s nor %s" % _MODULES)


def _version(module):
    try:
        from importlib.metadata import version

        return version(module.replace("_", "-"))
    except ImportError:  # before Python 3.8
        return "unknown"

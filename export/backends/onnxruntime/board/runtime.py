"""ONNX Runtime: the network from its file, arrays in, arrays out.

SPDX-License-Identifier: Apache-2.0
"""

import os

import onnxruntime


class Runtime:
    def __init__(self, facts, folder, options):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        path = os.path.join(folder, facts["files"][0]["name"])
        wanted = [options.provider] if options.provider else ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(path, settings, providers=wanted)
        self.input = self.session.get_inputs()[0].name

    @staticmethod
    def add_options(add):
        add("--provider", metavar="NAME", help="an execution provider, CPUExecutionProvider")

    def __call__(self, x):
        return self.session.run(None, {self.input: x})

    def versions(self):
        return {
            "name": "onnxruntime",
            "version": onnxruntime.__version__,
            "provider": self.session.get_providers()[0],
        }

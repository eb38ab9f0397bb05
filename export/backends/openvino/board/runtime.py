"""OpenVINO: the network from its IR, arrays in, arrays out.

SPDX-License-Identifier: Apache-2.0
"""

import os
import sys

# It reports its use over the network unless the package that does so cannot be imported.
sys.modules["openvino_telemetry"] = None

import openvino


class Runtime:
    def __init__(self, facts, folder, options):
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        if options.device == "CPU":
            settings["INFERENCE_PRECISION_HINT"] = options.inference_precision
            if options.threads:
                settings["INFERENCE_NUM_THREADS"] = options.threads
        path = os.path.join(folder, facts["files"][0]["name"])
        self.device = options.device
        compiled = openvino.Core().compile_model(path, options.device, settings)
        self.request = compiled.create_infer_request()

    @staticmethod
    def add_options(add):
        add("--device", default="CPU", help="CPU (the default), GPU, NPU")
        add(
            "--inference-precision",
            default="f32",
            choices=("f32", "f16", "bf16"),
            help="what the CPU computes in where it has a choice",
        )

    def __call__(self, x):
        return [output.copy() for output in self.request.infer([x]).to_tuple()]

    def versions(self):
        return {"name": "openvino", "version": openvino.__version__, "device": self.device}

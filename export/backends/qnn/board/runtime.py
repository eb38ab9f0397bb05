"""ONNX Runtime with Qualcomm's execution provider: the network on the Hexagon HTP.

SPDX-License-Identifier: Apache-2.0
"""

import os

import onnxruntime
import onnxruntime_qnn

PROVIDER = "QNNExecutionProvider"


class Runtime:
    def __init__(self, facts, folder, options):
        onnxruntime.register_execution_provider_library(
            PROVIDER, onnxruntime_qnn.get_library_path()
        )
        devices = [each for each in onnxruntime.get_ep_devices() if each.ep_name == PROVIDER]
        if not devices:
            raise RuntimeError("the provider sees no Qualcomm processor here")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        if not options.cpu:
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings.add_provider_for_devices(
            devices[:1],
            {
                "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
                "htp_performance_mode": options.performance,
            },
        )
        path = os.path.join(folder, facts["files"][0]["name"])
        self.session = onnxruntime.InferenceSession(path, settings)
        self.input = self.session.get_inputs()[0].name
        self.outputs = [each["name"] for each in facts["outputs"]]

    @staticmethod
    def add_options(add):
        add("--performance", metavar="MODE", default="burst", help="the HTP's clock, burst")
        add("--cpu", action="store_true", help="the CPU may take what the HTP cannot")

    def __call__(self, x):
        return self.session.run(self.outputs, {self.input: x})

    def versions(self):
        return {
            "name": "onnxruntime-qnn",
            "version": onnxruntime_qnn.__version__,
            "onnxruntime": onnxruntime.__version__,
            "provider": PROVIDER,
        }

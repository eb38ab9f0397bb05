"""OpenCV's dnn module on the CPU: the network from its file, arrays in, arrays out.

SPDX-License-Identifier: Apache-2.0
"""

import os

import cv2


class Runtime:
    def __init__(self, facts, folder, options):
        if options.threads:
            cv2.setNumThreads(options.threads)
        self.network = cv2.dnn.readNetFromONNX(os.path.join(folder, facts["files"][0]["name"]))
        self.network.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        self.network.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        # Winograd's convolution is faster on 4.x and costs it up to a digit of accuracy.
        self.network.enableWinograd(options.winograd)
        self.outputs = [output["name"] for output in facts["outputs"]]

    @staticmethod
    def add_options(add):
        add("--winograd", action="store_true", help="faster and a little less exact (4.x)")

    def __call__(self, x):
        self.network.setInput(x)
        return [output.copy() for output in self.network.forward(self.outputs)]

    def versions(self):
        return {"name": "opencv", "version": cv2.__version__}

"""ncnn: the network from its files, arrays in, arrays out.

SPDX-License-Identifier: Apache-2.0
"""

import os

import ncnn
import numpy as np


class Runtime:
    def __init__(self, facts, folder, options):
        self.network = ncnn.Net()
        half = facts["precision"] == "float16"
        self.network.opt.use_fp16_packed = half
        self.network.opt.use_fp16_storage = half
        self.network.opt.use_fp16_arithmetic = half
        self.network.opt.use_vulkan_compute = options.vulkan
        if options.threads:
            self.network.opt.num_threads = options.threads
        param, weights = (os.path.join(folder, entry["name"]) for entry in facts["files"])
        if self.network.load_param(param) != 0 or self.network.load_model(weights) != 0:
            raise OSError("ncnn cannot read %s" % param)
        self.input = facts["input"]["name"]
        self.outputs = [output["name"] for output in facts["outputs"]]
        self.vulkan = options.vulkan

    @staticmethod
    def add_options(add):
        add("--vulkan", action="store_true", help="on the GPU")

    def __call__(self, x):
        extractor = self.network.create_extractor()
        extractor.input(self.input, ncnn.Mat(x[0]))  # ncnn has no batch
        answers = []
        for name in self.outputs:
            status, answer = extractor.extract(name)
            if status != 0:
                raise OSError("ncnn cannot compute %s: status %d" % (name, status))
            answers.append(np.array(answer))
        return answers

    def versions(self):
        return {
            "name": "ncnn",
            "version": ncnn.__version__,
            "device": "gpu" if self.vulkan else "cpu",
        }

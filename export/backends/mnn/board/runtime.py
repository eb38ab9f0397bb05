"""MNN: the network from its file, arrays in, arrays out.

Never import MNN.tools: on import it installs packages and reports its use over the network.

SPDX-License-Identifier: Apache-2.0
"""

import os

import MNN
import numpy as np

_WINOGRAD_MEMORY_LEVEL = 3  # a hint's number in MNN's Interpreter.hpp


class Runtime:
    def __init__(self, facts, folder, options):
        settings = {
            "backend": options.backend,
            "numThread": options.threads or os.cpu_count(),
            "precision": options.arithmetic,
        }
        manager = MNN.nn.create_runtime_manager((settings,))
        manager.set_hint(_WINOGRAD_MEMORY_LEVEL, 1)  # the default costs three digits of accuracy
        path = os.path.join(folder, facts["files"][0]["name"])
        names = [output["name"] for output in facts["outputs"]]
        self.network = MNN.nn.load_module_from_file(
            path, [facts["input"]["name"]], names, runtime_manager=manager
        )
        self.backend = options.backend

    @staticmethod
    def add_options(add):
        add("--backend", default="CPU", choices=("CPU", "OPENCL", "VULKAN", "CUDA", "METAL"))
        add(
            "--arithmetic",
            default="high",
            choices=("high", "normal", "low"),
            help="precision of the arithmetic; low is float16 where the processor has it",
        )

    def __call__(self, x):
        entry = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW, MNN.expr.float)
        entry.write(x)
        answers = self.network.forward([entry])
        # read() is a view that dies with its tensor
        return [np.array(MNN.expr.convert(answer, MNN.expr.NCHW).read()) for answer in answers]

    def versions(self):
        return {"name": "mnn", "version": MNN.version(), "backend": self.backend}

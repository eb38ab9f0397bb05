"""ExecuTorch with XNNPACK: the network from its file, arrays in, arrays out.

ExecuTorch's Python binding takes PyTorch's tensors, so that package is needed as well.

SPDX-License-Identifier: Apache-2.0
"""

import os
from importlib.metadata import version

import torch
from executorch.runtime import Runtime as ExecuTorch


class Runtime:
    def __init__(self, facts, folder, options):
        if options.threads:
            torch.set_num_threads(options.threads)
        path = os.path.join(folder, facts["files"][0]["name"])
        self.program = ExecuTorch.get().load_program(path)  # the method lives no longer than it
        self.method = self.program.load_method("forward")

    def __call__(self, x):
        answers = self.method.execute([torch.from_numpy(x)])
        return [answer.numpy().copy() for answer in answers]

    def versions(self):
        return {"name": "executorch", "version": version("executorch")}

"""Rockchip's NPU: rknn-toolkit-lite2 on the board, rknn-toolkit2's simulator on a PC.

The simulator runs only what the same process has built, so that it builds the network anew from
``simulator/``; the .rknn file is not read there.

SPDX-License-Identifier: Apache-2.0
"""

import os
import tempfile

import numpy as np


class Runtime:
    def __init__(self, facts, folder, options):
        try:
            from rknnlite.api import RKNNLite
        except ImportError:
            self.toolkit, self.rknn = "rknn-toolkit2 simulator", _simulator(facts, folder)
        else:
            self.toolkit, self.rknn = "rknn-toolkit-lite2", RKNNLite()
            path = os.path.join(folder, facts["files"][0]["name"])
            _demand("load_rknn", self.rknn.load_rknn(path))
            core = {"core_mask": getattr(RKNNLite, options.core)} if options.core else {}
            _demand("init_runtime", self.rknn.init_runtime(**core))

    @staticmethod
    def add_options(add):
        add("--core", metavar="NAME", help="of several NPU cores, such as NPU_CORE_0_1_2 (rk3588)")

    def __call__(self, x):
        answers = self.rknn.inference(inputs=[x], data_format=["nhwc"])
        if answers is None:
            raise OSError("the NPU's runtime gave no answer: its reason is above")
        return answers

    def versions(self):
        words = ""
        if self.toolkit == "rknn-toolkit-lite2":
            words = str(self.rknn.get_sdk_version()).strip()
        return {"name": self.toolkit, "version": _version(self.toolkit.split()[0]), "sdk": words}


def _simulator(facts, folder):
    from rknn.api import RKNN

    settings = facts["runtime"]
    model = os.path.join(folder, settings["model"])
    if not os.path.exists(model):
        raise OSError("%s is missing: the simulator is built of it" % model)
    if settings.get("wide"):
        raise OSError("layers of mixed precision are not simulated here: use edgeark verify")
    rknn = RKNN()
    config = {
        "target_platform": settings["chip"],
        "mean_values": [facts["input"]["mean"]],
        "std_values": [facts["input"]["std"]],
        "quantized_algorithm": settings["algorithm"],
    }
    _demand("config", rknn.config(**config))
    _demand("load_onnx", rknn.load_onnx(model=model))
    calibration = settings.get("calibration")
    with tempfile.TemporaryDirectory() as scratch:
        dataset = None
        if calibration:
            dataset = os.path.join(scratch, "images.txt")
            with np.load(os.path.join(folder, calibration)) as file, open(dataset, "w") as names:
                for index, image in enumerate(file["images"]):
                    path = os.path.join(scratch, "%06d.npy" % index)
                    np.save(path, image[None])
                    names.write(path + "\n")
        built = rknn.build(do_quantization=bool(calibration), dataset=dataset)
    _demand("build", built)
    _demand("init_runtime", rknn.init_runtime())
    return rknn


def _demand(what, code):
    if code not in (None, 0):
        raise OSError("%s failed (%r): the toolkit's reason is above" % (what, code))


def _version(package):
    try:
        from importlib.metadata import version

        return version(package)
    except ImportError:  # before Python 3.8, or installed otherwise
        return "unknown"

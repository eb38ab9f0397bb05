"""nncase 1.9: ONNX or TFLite to a kmodel v5 for the K210, and its own simulator of that chip."""

import functools
import glob
import os
import time

import nncase
import numpy as np

_PIXELS = [0, 1]  # what raw 0..255 stands for in the network


def convert(arguments, arrays):
    """A network that takes pixels in 0..1 to a kmodel that takes them raw.

    It is an ONNX file, or a float32 TFLite one whose input and outputs are NCHW. The value
    ``operators`` has the compiler's listings of what runs where.
    """
    images = arrays["images"]
    options = nncase.CompileOptions()
    options.target = "k210"
    options.quant_type = options.w_quant_type = options.input_type = "uint8"
    options.preprocess = True  # else the input is float
    options.input_layout = options.output_layout = options.model_layout = "NCHW"
    options.input_shape = [1, *images.shape[1:]]
    options.input_range = _PIXELS
    options.dump_asm = True
    options.dump_dir = "dump"
    compiler = nncase.Compiler(options)
    is_tflite = arguments["network"].endswith(".tflite")
    read = compiler.import_tflite if is_tflite else compiler.import_onnx
    with open(arguments["network"], "rb") as file:
        read(file.read(), nncase.ImportOptions())
    calibration = nncase.PTQTensorOptions()
    calibration.samples_count = len(images)
    calibration.calibrate_method = "no_clip"
    calibration.set_tensor_data(images.tobytes())
    compiler.use_ptq(calibration)
    compiler.compile()
    kmodel = compiler.gencode_tobytes()
    with open(arguments["out"], "wb") as file:
        file.write(kmodel)
    return {"operators": _read_operators()}, {}


def run(arguments, arrays):
    """Simulate, image by image."""
    simulator = _open(os.path.join(arguments["folder"], arguments["files"][0]))
    parts, seconds = [], []
    for image in arrays["images"]:
        start = time.perf_counter()
        simulator.set_input_tensor(0, nncase.RuntimeTensor.from_numpy(image[None]))
        simulator.run()
        answers = [simulator.get_output_tensor(i) for i in range(simulator.outputs_size)]
        seconds.append(time.perf_counter() - start)
        parts.append([np.array(answer.to_numpy()) for answer in answers])
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _open(path):
    simulator = nncase.Simulator()
    with open(path, "rb") as file:
        simulator.load_model(file.read())
    return simulator


def _read_operators():
    """The compiler's listings of operators, by function: ``main``, and one for each KPU run."""
    listings = {}
    for path in glob.glob("dump/*/*/runtime_ops.txt"):
        with open(path) as file:
            listings[os.path.basename(os.path.dirname(path))] = file.read()
    return listings

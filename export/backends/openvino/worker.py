"""OpenVINO's converter and CPU runtime, and NNCF's post-training quantisation."""

from __future__ import annotations

import functools
import os
import sys
import time

# OpenVINO and NNCF report their use over the network on import, unless the user has opted out by a
# file in the home folder. Both go without where the package that does it cannot be imported.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import nncf
import numpy as np
import openvino as ov
import openvino.opset15 as opset
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from openvino.preprocess import PrePostProcessor


def convert(arguments, arrays):
    """ONNX to an IR that takes raw images; int8 where there are calibration images.

    ``half`` stores the weights in 16 bits. The runtime makes float32 of them on x86, and computes
    in float16 on ARM.
    """
    settings = arguments["settings"]
    model = ov.convert_model(arguments["onnx"])
    if "images" in arrays:
        _convolve_padded_averages(model)
        model = _quantize(model, arrays["images"], settings)
    if settings["mean"]:  # a network that takes no image has none
        model = _embed_normalization(model, settings)
    for key, value in arguments["model_info"].items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, arguments["out"], compress_to_fp16=arguments["half"])
    return {}, {}


def run(arguments, arrays):
    request = _open(os.path.join(arguments["folder"], arguments["files"][0]))
    parts, seconds = [], []
    for sample in arrays["images"]:
        inputs = _inputs(sample)
        start = time.perf_counter()
        answers = request.infer(inputs).to_tuple()
        seconds.append(time.perf_counter() - start)
        parts.append(answers)
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _open(path):
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # a CPU with bfloat16 would use that
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return ov.Core().compile_model(path, "CPU", settings).create_infer_request()


def _inputs(sample):
    """An image as it is, or a record's fields by name, with the batch of 1."""
    if sample.dtype.names is None:
        return [sample[None]]
    return {name: np.ascontiguousarray(sample[name][None]) for name in sample.dtype.names}


def _convolve_padded_averages(model):
    """Averages that count padding become convolutions with equal weights, one for each channel.

    So do those of a map that another layer has padded: the two layers are run as one.
    OpenVINO 2026.4 pads a quantised map with 0 where that is not the number that stands for zero:
    the average is wrong by up to the whole range (-11 dB), without a word.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "AvgPool" or node.get_attributes()["exclude-pad"]:
            continue
        given, source = node.get_attributes(), node.input(0).get_source_output()
        pads = (*given["pads_begin"], *given["pads_end"])
        if not any(pads) and source.get_node().get_type_name() != "Pad":
            continue
        channels, kernel = source.get_partial_shape()[1].get_length(), given["kernel"]
        weight = np.full((channels, 1, 1, *kernel), 1 / np.prod(kernel), np.float32)
        convolution = opset.group_convolution(
            source,
            opset.constant(weight),
            given["strides"],
            given["pads_begin"],
            given["pads_end"],
            [1] * len(kernel),
            name=node.get_friendly_name(),
        )
        ov.utils.replace_node(node, convolution)


def _quantize(model, images, settings):
    """The normalisation is not in the model yet, so that it stays in float.

    Three of NNCF's defaults are changed. It takes an activation's range as the mean of the
    images' ranges, which clips: the range over all images gains 8 dB on mnist. Its bias
    correction costs 20 dB on mnist_kpu, whose head it misjudges. And it gives the first filters 7
    bits, for the sake of CPUs with AVX-512 but without VNNI, where sums of 8-bit products overflow:
    that costs 6 dB on unet_16, whose first filters are on the grid of 8 bits.
    """
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))

    def transform(sample):
        return (sample[None] - mean) / std if sample.dtype.names is None else _inputs(sample)

    dataset = nncf.Dataset(images, transform)
    return nncf.quantize(
        model,
        dataset,
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            disable_bias_correction=True,
            overflow_fix=_overflow_fix(),
        ),
    )


def _overflow_fix():
    """Weights of 7 bits where this processor's sums of 8-bit products would overflow."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = file.read()
    except OSError:  # no Linux: what the processor has is not known
        return nncf.OverflowFix.DISABLE
    is_x86 = "avx2" in flags
    has_vnni = "avx512_vnni" in flags or "avx_vnni" in flags
    return nncf.OverflowFix.ENABLE if is_x86 and not has_vnni else nncf.OverflowFix.DISABLE


def _embed_normalization(model, settings):
    processor = PrePostProcessor(model)
    entry = processor.input()
    entry.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NCHW"))
    entry.model().set_layout(ov.Layout("NCHW"))
    steps = entry.preprocess().convert_element_type(ov.Type.f32)
    steps.mean(list(settings["mean"])).scale(list(settings["std"]))
    return processor.build()

"""How a network is quantised for the HTP: settings of ONNX Runtime's quantiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import onnx


def htp_qdq(prepared: Path, reader: Any, *, activation_bits: Literal[8, 16]) -> Any:
    """The settings that ONNX Runtime has for Qualcomm's provider; ``prepared`` is fused in place.

    Weights are int8 around 0, a scale for each filter; activations have zero points. Factors of a
    layer norm are uint8: the HTP refuses int8 there.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.execution_providers.qnn import (
        get_qnn_qdq_config,
        qnn_preprocess_model,
    )

    network = onnx.load(prepared)
    del network.metadata_props[:]  # it trips over them
    qnn_preprocess_model(network, str(prepared))
    nodes = onnx.load(prepared).graph.node
    factors = [node.input[1] for node in nodes if node.op_type == "LayerNormalization"]
    return get_qnn_qdq_config(
        str(prepared),
        reader,
        activation_type=QuantType.QUInt16 if activation_bits == 16 else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        init_overrides={name: [{"quant_type": QuantType.QUInt8}] for name in factors},
    )

"""ONNX Runtime."""

TARGETS = {"onnxruntime": "OnnxRuntime"}  # family name: class in target.py

"""ONNX Runtime."""

TARGETS = {"onnxruntime": "OnnxRuntime"}  # family name: class in target.py
RANK = 10  # its place in listings

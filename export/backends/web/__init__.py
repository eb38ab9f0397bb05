"""ONNX Runtime Web: a browser, by WebAssembly."""

TARGETS = {"web": "Web"}  # family name: class in target.py
RANK = 65  # its place in listings

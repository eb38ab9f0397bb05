"""LiteRT (TensorFlow Lite)."""

TARGETS = {"litert": "LiteRt", "litert-nchw": "LiteRtNchw"}  # family name: class in target.py

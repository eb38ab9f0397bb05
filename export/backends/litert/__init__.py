"""LiteRT (TensorFlow Lite)."""

TARGETS = {"litert": "LiteRt", "litert-nchw": "LiteRtNchw"}  # family name: class in target.py
RANK = 90  # its place in listings

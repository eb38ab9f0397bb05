"""NVIDIA TensorRT."""

TARGETS = {"tensorrt": "TensorRt"}  # family name: class in target.py
RANK = 80  # its place in listings

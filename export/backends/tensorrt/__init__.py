"""NVIDIA TensorRT."""

TARGETS = {"tensorrt": "TensorRt"}  # family name: class in target.py

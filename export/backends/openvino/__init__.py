"""Intel OpenVINO."""

TARGETS = {"openvino": "OpenVino"}  # family name: class in target.py

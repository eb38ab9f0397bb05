"""Intel OpenVINO."""

TARGETS = {"openvino": "OpenVino"}  # family name: class in target.py
RANK = 50  # its place in listings

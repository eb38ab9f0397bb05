"""TensorFlow Lite Micro: microcontrollers."""

TARGETS = {"tflm": "Tflm"}  # family name: class in target.py
RANK = 135  # its place in listings

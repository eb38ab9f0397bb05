"""Kendryte K210, by Canaan's nncase."""

TARGETS = {
    "k210-nncase": "Nncase",
    "k210-nncase-tflite": "NncaseTflite",
}  # family name: class in target.py
RANK = 160  # its place in listings

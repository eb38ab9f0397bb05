"""TorchScript, run by libtorch."""

TARGETS = {"torchscript": "TorchScript"}  # family name: class in target.py
RANK = 20  # its place in listings

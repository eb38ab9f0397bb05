"""TorchScript, run by libtorch."""

TARGETS = {"torchscript": "TorchScript"}  # family name: class in target.py

"""ExecuTorch, PyTorch's own runtime for phones."""

TARGETS = {"executorch": "ExecuTorch"}  # family name: class in target.py
RANK = 100  # its place in listings

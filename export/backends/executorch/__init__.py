"""ExecuTorch, PyTorch's own runtime for phones."""

TARGETS = {"executorch": "ExecuTorch"}  # family name: class in target.py

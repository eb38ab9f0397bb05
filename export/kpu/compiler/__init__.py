"""The K210 compiler: from an ONNX graph to a kmodel; start at ``compile.py``."""

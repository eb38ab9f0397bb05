"""Sophgo's TPUs, by TPU-MLIR: the CV18xx of CVITEK, and the BM168x."""

TARGETS = {"cvitek": "Cvitek", "sophgo": "Sophgo"}  # family name: class in target.py
RANK = 125  # its place in listings

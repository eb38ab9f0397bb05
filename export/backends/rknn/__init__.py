"""Rockchip NPUs by RKNN-Toolkit2."""

TARGETS = {"rknn": "Rknn", "rknn-torchscript": "RknnTorchScript"}  # family name: class in target.py
RANK = 120  # its place in listings

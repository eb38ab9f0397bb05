"""Rockchip NPUs of the first generation, by RKNN-Toolkit 1.7."""

TARGETS = {"rknn1": "Rknn1"}  # family name: class in target.py
RANK = 130  # its place in listings

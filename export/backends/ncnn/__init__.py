"""Tencent ncnn."""

TARGETS = {"ncnn": "Ncnn"}  # family name: class in target.py
RANK = 60  # its place in listings

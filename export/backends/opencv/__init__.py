"""OpenCV DNN, releases 4 and 5."""

TARGETS = {"opencv": "OpenCv", "opencv5": "OpenCv5"}  # family name: class in target.py
RANK = 30  # its place in listings

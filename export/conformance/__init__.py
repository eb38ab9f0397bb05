"""Prediction against reality: what ``edgeark check`` says of networks, and what the engines do."""

from .measure import measure
from .records import RESULTS, Cell, read_cells, write_cells
from .requests import read_requests
from .scores import Score, score_errors, score_fallbacks, to_markdown

__all__ = [
    "RESULTS",
    "Cell",
    "Score",
    "measure",
    "read_cells",
    "read_requests",
    "score_errors",
    "score_fallbacks",
    "to_markdown",
    "write_cells",
]

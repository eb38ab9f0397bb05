"""The zoo on its targets: cells that are measured, the file that keeps them, the table of it."""

from .measure import Measured, measure
from .records import RESULTS, read_results, to_markdown, write_results

__all__ = ["RESULTS", "Measured", "measure", "read_results", "to_markdown", "write_results"]

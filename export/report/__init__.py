"""The report of a set of exports: one HTML file that needs nothing else."""

from .render import write_report

__all__ = ["write_report"]

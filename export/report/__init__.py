"""The report of a set of exports: one HTML file that needs nothing else."""

from .render import made_by, write_exports_report, write_report

__all__ = ["made_by", "write_exports_report", "write_report"]

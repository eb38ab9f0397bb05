"""Jinja templates for the scripts and texts that backends write."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def open_templates(*folders: Path) -> Environment:
    """The templates of one kind of bundle; ``python`` writes a value as a Python literal in ASCII.

    Args:
        folders: where the ``.jinja`` files lie.
    """
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=False,  # Python and Markdown, not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = ascii
    return environment

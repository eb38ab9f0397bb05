"""Where the scripts and texts of bundles come from: Jinja templates in folders beside this file."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def open_templates(folder: str) -> Environment:
    """The templates of one kind of bundle; ``python`` writes a value as a Python literal in ASCII.

    Args:
        folder: the name of a folder beside this file.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / folder),
        autoescape=False,  # Python and Markdown, not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = ascii
    return environment

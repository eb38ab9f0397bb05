"""The repository folder is the package ``edgeark``: this lists its packages; see pyproject.toml."""

from setuptools import find_packages, setup

NAMES = ("core", "cli", "zoo", "training", "export", "projects")
FOUND = find_packages(include=[pattern for name in NAMES for pattern in (name, f"{name}.*")])

setup(packages=["edgeark", *(f"edgeark.{name}" for name in FOUND)])

"""Rewriting: a user's own network in operators that its targets have, and proven equal."""

from .branches import Folded, fold_branches
from .draft import RewriteError
from .engine import Change, Rewritten, can_help, rewrite
from .writing import write_network

__all__ = [
    "Change",
    "Folded",
    "RewriteError",
    "Rewritten",
    "can_help",
    "fold_branches",
    "rewrite",
    "write_network",
]

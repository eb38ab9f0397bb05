"""Rewriting: a user's own network in operators that its targets have, and proven equal."""

from .draft import RewriteError
from .engine import Change, Rewritten, can_help, rewrite
from .writing import write_network

__all__ = ["Change", "RewriteError", "Rewritten", "can_help", "rewrite", "write_network"]

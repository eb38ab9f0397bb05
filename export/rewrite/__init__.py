"""Rewriting: a user's own network in operators that its targets have, and proven equal."""

from .engine import Change, RewriteError, Rewritten, rewrite

__all__ = ["Change", "RewriteError", "Rewritten", "rewrite"]

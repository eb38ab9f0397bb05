"""A user's network rewritten for its targets, with its training branches folded first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import SourceError
from ..rewrite import Rewritten, rewrite
from ..targets.base import Target
from .network import Source


def rewrite_source(source: Source, targets: Sequence[Target], *, flat: bool = False) -> Rewritten:
    """What the targets lack in other operators; see :func:`~edgeark.export.rewrite.rewrite`.

    Args:
        source: it stays as it is; the result answers as it does.
        targets: whose rules to follow.
        flat: with its outputs in one tuple, instead of nested as the user wrote them.

    Raises:
        SourceError: the network has several inputs.
        RewriteError: there is no static graph.
    """
    if len(source.spec.input_shapes) > 1:
        raise SourceError(f"{source.name} has several inputs; rewrite takes networks of one")
    before, after = (s.model if flat else s.original for s in (source, source.folded))
    done = rewrite(after, next(iter(source.spec.input_shapes)), targets, before)
    return replace(done, changes=(*source.folding, *done.changes))

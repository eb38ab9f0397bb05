"""Examples of what the HTP's compiler refuses or computes wrongly."""

from __future__ import annotations

from ...lint.examples import Example

EXAMPLES: tuple[Example, ...] = ()

"""Examples of what Sophgo's TPUs cannot do."""

from __future__ import annotations

from ...lint.examples import Example

EXAMPLES: tuple[Example, ...] = ()

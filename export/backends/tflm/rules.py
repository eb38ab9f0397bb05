"""What TensorFlow Lite Micro lacks: rules for ``edgeark check``.

Each was seen with tflite-micro 0.dev20261023, and ``test_tflm_rules.py`` sees it again. LiteRT's
rules hold too, since its files are what is run.
"""

from __future__ import annotations

from ...lint.rule_set import RuleSet
from ..litert.rules import rules as litert

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(litert)

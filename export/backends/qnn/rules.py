"""What the HTP's compiler refuses or computes wrongly: rules for ``edgeark check``.

Each was seen with onnxruntime-qnn 2.7.0, and ``test_qnn_rules.py`` sees it again.
"""

from __future__ import annotations

from ...lint import onnx_file
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

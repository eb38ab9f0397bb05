"""The functions of ``import edgeark``: check, rewrite, run, verify; ``export_model`` is beside."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from .check import check_source
from .lint import Finding
from .request import NetworkRequest
from .results.schema import VerifyResult
from .results.tables import ResultList
from .rewrite import Change, write_network
from .run import Answer, answer_image
from .sources import InputOptions
from .sources.rewriting import rewrite_source
from .sources.shapes import Examples, with_examples
from .targets import find_targets, require_targets
from .verify import find_exports, verify_export

Network = str | Path | nn.Module
_FINDINGS = {
    **{"target": "target", "severity": "severity", "module": "module", "source": "source"},
    **{"reason": "reason", "fix": "what to do", "rule": "rule"},
}
_CHANGES = {"module": "module", "source": "source", "done": "done", "rule": "rule"}
_VERIFIED = {
    **{"folder": "export", "status": "status", "evidence": "evidence"},
    **{"max_abs_error": "max abs", "sqnr_db": "SQNR dB", "repeat_error": "since written"},
    "message": "message",
}


@dataclass(frozen=True)
class RewriteResult:
    """A rewritten network.

    Args:
        model: takes and gives what the original does.
        changes: in the order in which they were made.
        left: what the rules still find, with what to do about it.
        max_abs_error: against the original, on random images.
    """

    model: nn.Module
    changes: ResultList[Change]
    left: ResultList[Finding]
    max_abs_error: float

    def __str__(self) -> str:
        return f"{self._title()}\n{self.changes}\n\nleft:\n{self.left}"

    def _repr_html_(self) -> str:
        title = html.escape(self._title())
        return f"<p>{title}</p>{self.changes._repr_html_()}<p>left</p>{self.left._repr_html_()}"

    def _title(self) -> str:
        return (
            f"{len(self.changes)} changed, {len(self.left)} left; "
            f"max. error {self.max_abs_error:.2g}"
        )


def check(
    network: Network,
    to: str | Sequence[str],
    *,
    example_inputs: Examples | None = None,
    inputs: InputOptions | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
) -> ResultList[Finding]:
    """What targets cannot do of a network, or compute otherwise, and what to do about it.

    Args:
        network: a module; or a name or file, see :func:`open_source`.
        to: targets, like ``mnn`` or ``rknn:rk3588``, or groups like ``all``.
        example_inputs: a tensor, or several in order or by name, for their shapes.
        inputs: shapes, mean, std and colour, where there is no example.
        weights: a weights file.
        pretrained: load timm's or torchvision's published weights.

    Raises:
        EdgearkError: unknown names, or no network.
    """
    names = require_targets(to)
    source = _request(network, example_inputs, inputs, weights, pretrained).source
    return ResultList(check_source(source, find_targets(names)), _FINDINGS)


def rewrite(
    network: Network,
    to: str | Sequence[str],
    *,
    example_inputs: Examples | None = None,
    inputs: InputOptions | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    out: str | Path | None = None,
) -> RewriteResult:
    """Replace what targets lack by what is equal, and prove the result.

    Args:
        network: as for :func:`check`, as are the others up to ``out``.
        to: names of targets.
        example_inputs: what the network takes.
        inputs: shapes, and how images are fed.
        weights: a weights file.
        pretrained: load timm's or torchvision's published weights.
        out: a new folder for network.py and weights.safetensors.

    Raises:
        EdgearkError: unknown names, no network, or one that cannot be rewritten.
    """
    names = require_targets(to)
    source = _request(network, example_inputs, inputs, weights, pretrained).source
    done = rewrite_source(source, find_targets(names))
    if out is not None:
        write_network(done, Path(out))
    changes, left = ResultList(done.changes, _CHANGES), ResultList(done.left, _FINDINGS)
    return RewriteResult(done.model, changes, left, done.max_abs_error)


def run(
    network: Network,
    image: str | Path,
    *,
    inputs: InputOptions | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
) -> Answer:
    """What a network or an export says of an image; see :func:`answer_image`.

    Args:
        network: as for :func:`check`; or an export's folder, or a file in it.
        image: an image file of any size; for a network that takes tensors, ``.npy`` or ``.npz``.
        inputs: shapes, and how images are fed.
        weights: a weights file.
        pretrained: load timm's or torchvision's published weights.

    Raises:
        EdgearkError: no network, or nothing here runs it.
        DataError: the image cannot be read.
    """
    return answer_image(_request(network, None, inputs, weights, pretrained), Path(image))


def verify(*exports: str | Path) -> ResultList[VerifyResult]:
    """Run exports on their golden images: whether they still answer as when they were written.

    Args:
        exports: folders of exports, or folders with exports below them.

    Raises:
        ManifestError: there is none, or one of them is broken.
    """
    found = [export for path in exports for export in find_exports(Path(path))]
    return ResultList([verify_export(export) for export in found], _VERIFIED)


def _request(
    network: Network,
    examples: Examples | None,
    inputs: InputOptions | None,
    weights: str | Path | None,
    pretrained: bool,
) -> NetworkRequest:
    options = with_examples(inputs or InputOptions(), examples, network)
    file = None if weights is None else Path(weights)
    return NetworkRequest(network, options, weights=file, pretrained=pretrained)

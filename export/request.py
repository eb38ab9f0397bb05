"""A network and all that a user says of it: what every command and the Python API begin with."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from ..core.catalog import is_model_name
from ..errors import EdgearkError
from ..zoo.spec import ModelSpec, spec_of
from ..zoo.weights import read_verdicts
from .check import fits, fits_zoo_model
from .prepare import EvalContext, MetricFunction, prepare, prepare_source
from .sources import InputOptions, Source, load_metric, open_source
from .targets.base import DEFAULT_QUANTIZATION, Quantization, Target

logger = logging.getLogger(__name__)


def require_limit(limit: int | None) -> None:
    """At most so many samples are compared; None: all.

    Raises:
        EdgearkError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise EdgearkError(f"limit={limit}: at least one sample is compared")


@dataclass(frozen=True)
class NetworkRequest:
    """A network, not opened yet, with what is known of it.

    Args:
        network: a model of the zoo, or a network of one's own; see :func:`open_source`.
        inputs: shapes, mean, std and colour of a network of one's own.
        weights: a weights file; by default the weights that ship.
        pretrained: load timm's or torchvision's published weights.
        images: a folder of samples of one's own, without labels; half of it calibrates int8, the
            other half is compared on. Without it a network of one's own is compared on noise.
        metric: the user's own metric of raw outputs, in 0..1; or ``FILE.py:FUNCTION``.
        data: where the data set is, of a model of the zoo or of the spec.
    """

    network: str | Path | nn.Module
    inputs: InputOptions = field(default_factory=InputOptions)
    weights: Path | None = None
    pretrained: bool = False
    images: Path | None = None
    metric: MetricFunction | str | None = None
    data: Path | None = None

    @property
    def title(self) -> str:
        """What the user calls the network."""
        named = self.network
        return type(named).__name__ if isinstance(named, nn.Module) else str(named)

    @property
    def is_measured(self) -> bool:
        """Whether it is a model of the zoo as it ships, whose own data set measures it."""
        if self.images is not None or self.metric is not None or self.inputs.is_given:
            return False
        if isinstance(self.network, nn.Module):
            spec = getattr(self.network, "spec", None)
            return isinstance(spec, ModelSpec) and bool(spec.dataset)
        return is_model_name(str(self.network))

    @functools.cached_property
    def source(self) -> Source:
        """The network, opened; see :func:`open_source` for its errors."""
        return open_source(
            self.network, self.inputs, weights=self.weights, pretrained=self.pretrained
        )

    def fits(self, target: Target) -> bool:
        """Whether a target can take the network; see :func:`.check.fits`."""
        return self._fits(target)

    @functools.cached_property
    def _fits(self) -> Callable[[Target], bool]:
        if self.is_measured and isinstance(self.network, nn.Module):
            return fits(self.network, *spec_of(self.network).input_shapes)
        if self.is_measured:
            return fits_zoo_model(str(self.network))
        return fits(self.source.folded.model, *self.source.spec.input_shapes)

    def prepare(
        self,
        folder: Path,
        *,
        limit: int | None = None,
        quantization: Quantization = DEFAULT_QUANTIZATION,
        rewrite_for: Sequence[Target] = (),
    ) -> EvalContext:
        """The network with samples and the answers to compare with.

        Args:
            folder: where its graphs go.
            limit: at most so many test samples, an equal share of each class.
            quantization: how int8 is made.
            rewrite_for: targets whose rules are rewritten away first.

        Raises:
            EdgearkError: no such network, no weights, no data, or a limit below 1.
        """
        require_limit(limit)
        context = self._prepare(folder, limit, quantization, rewrite_for)
        if self.weights is not None:  # the file's licence is not that of the weights that ship
            context = replace(context, spec=replace(context.spec, license=""))
        return replace(context, training_verdicts=self._training_verdicts())

    def _training_verdicts(self) -> tuple[str, ...]:
        """As the weights file has them, and said once more."""
        if self.weights is None or self.weights.suffix != ".safetensors":
            return ()
        verdicts = read_verdicts(self.weights)
        for verdict in verdicts:
            logger.warning("%s, as its training said: %s", self.title, verdict)
        return verdicts

    def _prepare(
        self,
        folder: Path,
        limit: int | None,
        quantization: Quantization,
        rewrite_for: Sequence[Target],
    ) -> EvalContext:
        if self.is_measured and not rewrite_for:
            network = self.network if isinstance(self.network, nn.Module) else str(self.network)
            return prepare(
                *(network, folder),
                weights=self.weights,
                data=self.data,
                limit=limit,
                quantization=quantization,
            )
        metric = load_metric(self.metric) if isinstance(self.metric, str) else self.metric
        return prepare_source(
            *(self.source, folder),
            images=self.images,
            data=self.data,
            limit=limit,
            quantization=quantization,
            metric=metric,
            rewrite_for=rewrite_for,
        )

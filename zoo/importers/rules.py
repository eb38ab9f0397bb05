"""What the importers share: a module of ours is filled from the prefix of a foreign module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ..weights import WeightsError

Rule = tuple[str, str]  # our module's name, their module's name


def conv_bn(ours: str, their_conv: str, their_bn: str) -> list[Rule]:
    """The two rules of one :class:`~edgeark.zoo.layers.ConvBnAct`."""
    return [(f"{ours}.conv", their_conv), (f"{ours}.bn", their_bn)]


def take(state: dict[str, Tensor], name: str, wanted: Tensor, origin: str) -> Tensor:
    """Remove ``name`` from ``state`` and return it in the shape of ``wanted``.

    A linear layer ``[out, C * h * w]`` becomes a convolution ``[out, C, h, w]``.

    Raises:
        WeightsError: it is not there, or of another shape.
    """
    found = state.pop(name, None)
    if found is None:
        raise WeightsError(f"no {origin} weights of this network: {name} is missing")
    if found.ndim == 2 and wanted.ndim and found.shape[1] == wanted[0].numel():
        found = found.reshape(len(found), *wanted.shape[1:])
    if found.shape != wanted.shape:
        raise WeightsError(
            f"no {origin} weights of this network: {name} is {tuple(found.shape)}, "
            f"{tuple(wanted.shape)} is wanted"
        )
    return found


def fold_bias(
    state: dict[str, Tensor], their_conv: str, their_bn: str, wanted: Tensor, origin: str
) -> None:
    """Take the bias of a convolution, which ours lacks, into the normalisation after it.

    ``bn(conv(x) + b)`` subtracts the mean of what it sees, so ``mean - b`` without ``b`` is equal.

    Args:
        state: changed in place.
        their_conv: the convolution's name.
        their_bn: the normalisation's name.
        wanted: our ``running_mean``, for its shape.
        origin: whose weights these are, for the message.

    Raises:
        WeightsError: bias or mean is not there, or of another shape.
    """
    bias = take(state, f"{their_conv}.bias", wanted, origin)
    mean = take(state, f"{their_bn}.running_mean", wanted, origin)
    state[f"{their_bn}.running_mean"] = mean - bias


def load_renamed(
    model: nn.Module, state: Mapping[str, Tensor], rules: Iterable[Rule], origin: str
) -> nn.Module:
    """Load ``state`` into ``model`` by ``rules`` and return it; nothing is loaded on an error.

    Raises:
        WeightsError: naming the first tensor that is missing, of another shape, or left over.
    """
    left = dict(state)
    converted: dict[str, Tensor] = {}
    for ours, theirs in rules:
        for key, wanted in model.get_submodule(ours).state_dict().items():
            name = f"{theirs}.{key}"
            if key.endswith("num_batches_tracked"):  # old files lack it, and nothing here uses it
                left.pop(name, None)
                converted[f"{ours}.{key}"] = wanted
            else:
                converted[f"{ours}.{key}"] = take(left, name, wanted, origin)
    if left:
        raise WeightsError(f"no {origin} weights of this network: {min(left)} is unknown")
    own = dict(model.named_buffers(recurse=False))  # anchors and the like: the spec's
    model.load_state_dict({**own, **converted})
    return model

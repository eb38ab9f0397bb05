"""A rule: the same function in other operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

Function = Callable[..., "Tensor | None"]


@dataclass(frozen=True)
class RewriteRule:
    """What can take the place of an operator.

    Args:
        operators: of ``aten``: ``mish``, or with an overload, ``mean.dim``.
        done: what was done, in few words that follow "it is".
        serves: the rules for whose findings it is tried.
        function: takes an operator's arguments in the order of its schema, and computes the same up
            to the rounding of floats; None where it does not apply. It is traced by
            ``torch.export`` for fixed shapes; what is to be computed now, and kept as a constant,
            goes into :func:`constant`.
        suits_warnings: it was seen to help where a rule warns of what is slow; the others are for
            what is refused or wrong, since they may be as slow.
        suits_readers: it is tried for what is found at a reader of the result as well; other rules
            about two operators would be silent about another form that is as wrong.
        behind: it replaces an operator together with one of these in front of it, whose arguments
            ``function`` takes as a list in the place of the first one.
        with_following: it replaces an operator together with all that follow it one by one;
            ``function`` takes a list of them, each as a list of the operator and its arguments.
    """

    operators: tuple[str, ...]
    done: str
    serves: tuple[str, ...]
    function: Function
    suits_warnings: bool = False
    suits_readers: bool = False
    behind: tuple[str, ...] = ()
    with_following: bool = False


ABSENT = ("unknown-operator", "unsupported-operator", "unlisted-operator", "later-operator")
"""The rules about operators that a target does not have at all."""
_REWRITES: list[RewriteRule] = []
_MODULES = ("resizing", "convolutions", "kernels", "unpadded", "maps", "algebra")


def rewrites() -> tuple[RewriteRule, ...]:
    """All rewrites in the order in which they are tried: as their modules define them."""
    for name in _MODULES:
        import_module(f".{name}", __package__)
    return tuple(_REWRITES)


def rewrite_rule(
    *operators: str,
    done: str,
    serves: tuple[str, ...],
    suits_warnings: bool = False,
    suits_readers: bool = False,
    behind: tuple[str, ...] = (),
    with_following: bool = False,
) -> Callable[[Function], RewriteRule]:
    """Make a rule of a function, and register it."""

    def register(function: Function) -> RewriteRule:
        rule = RewriteRule(
            *(operators, done, serves, function),
            *(suits_warnings, suits_readers, behind, with_following),
        )
        _REWRITES.append(rule)
        return rule

    return register


def constant(make: Callable[[], Tensor]) -> Tensor:
    """What ``make`` computes, as a constant of the graph that is being traced."""
    with unset_fake_temporarily(), disable_proxy_modes_tracing():
        return make().contiguous()


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """To ``shape``, whose first number is the batch's, which is left open."""
    return x.reshape([-1, *shape[1:]] if shape else [])

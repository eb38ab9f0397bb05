"""Element by element: arithmetic, comparison, logic, types."""

from __future__ import annotations

import functools
import operator as python

import torch
from torch import Tensor

from .registry import DTYPES, Function, OnnxNode, operator

_UNARY: dict[str, Function] = {
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Exp": torch.exp,
    "Log": torch.log,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Erf": torch.erf,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
    "Not": torch.logical_not,
    "BitwiseNot": torch.bitwise_not,
    "IsNaN": torch.isnan,
    "Identity": lambda x: x,
}

# Constants of one number become numbers, as in code that a person writes.
_WITH_NUMBERS: dict[str, Function] = {
    "Add": python.add,
    "Sub": python.sub,
    "Mul": python.mul,
    "Equal": python.eq,
    "Greater": python.gt,
    "GreaterOrEqual": python.ge,
    "Less": python.lt,
    "LessOrEqual": python.le,
}

_OF_TENSORS: dict[str, Function] = {
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}


def _with_numbers(node: OnnxNode, function: Function) -> Function:
    right, left = node.scalar(1, 0), node.scalar(0, 1)
    if right is not None:
        node.drop(1)
        return lambda x: function(x, right)
    if left is not None:
        node.drop(0)
        return lambda x: function(left, x)
    return function


def _enter_all() -> None:
    for op_type, function in (_UNARY | _OF_TENSORS).items():
        operator(op_type)(lambda node, function=function: function)
    for op_type, function in _WITH_NUMBERS.items():
        operator(op_type)(lambda node, function=function: _with_numbers(node, function))


_enter_all()


@operator("Div")
def div(node: OnnxNode) -> Function:
    """Of whole numbers the quotient is cut off."""
    if node.dtype(0).is_floating_point:
        return _with_numbers(node, python.truediv)
    return lambda x, y: torch.div(x, y, rounding_mode="trunc")


@operator("Pow")
def power(node: OnnxNode) -> Function:
    """Of the base's type, whatever that of the exponent is."""
    kind, exponent = node.dtype(0), node.constant(1)
    if exponent is not None and exponent.numel() == 1 and exponent.dim() <= node.rank(0):
        number = node.number(1)
        if not kind.is_floating_point and number == int(number):
            number = int(number)
        return lambda x: torch.pow(x, number).to(kind)
    if node.dtype(1) == kind:
        return torch.pow
    return lambda x, y: torch.pow(x, y).to(kind)


@operator("Mod")
def mod(node: OnnxNode) -> Function:
    """The sign is the divisor's, with ``fmod`` the dividend's."""
    return _with_numbers(node, torch.fmod if node.attribute("fmod", 0) else torch.remainder)


def _fold(node: OnnxNode, function: Function) -> Function:
    return lambda *values: functools.reduce(function, values)


@operator("Max")
def maximum(node: OnnxNode) -> Function:
    return _fold(node, torch.maximum)


@operator("Min")
def minimum(node: OnnxNode) -> Function:
    return _fold(node, torch.minimum)


@operator("Sum")
def sum_of(node: OnnxNode) -> Function:
    return _fold(node, torch.add)


@operator("Mean")
def mean_of(node: OnnxNode) -> Function:
    count = node.input_count
    return lambda *values: functools.reduce(torch.add, values) / count


@operator("Where")
def where(node: OnnxNode) -> Function:
    return torch.where


@operator("BitShift")
def bit_shift(node: OnnxNode) -> Function:
    left = node.attribute("direction") == "LEFT"
    return torch.bitwise_left_shift if left else torch.bitwise_right_shift


@operator("IsInf")
def is_inf(node: OnnxNode) -> Function:
    positive = node.attribute("detect_positive", 1)
    negative = node.attribute("detect_negative", 1)
    if positive and negative:
        return torch.isinf
    return torch.isposinf if positive else torch.isneginf


@operator("Cast")
def cast(node: OnnxNode) -> Function:
    wanted = node.attribute("to")
    if wanted not in DTYPES:
        node.fail(f"type {wanted} is not supported")
    return _to(node, DTYPES[wanted])


@operator("CastLike")
def cast_like(node: OnnxNode) -> Function:
    node.drop(1)
    return _to(node, node.dtype(1))


def _to(node: OnnxNode, kind: torch.dtype) -> Function:
    if node.dtype(0) == kind:
        return lambda x: x

    def function(x: Tensor) -> Tensor:
        return x.to(kind)

    return function

"""Products of matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator


@operator("MatMul", parameters=("", "weight"))
def matmul(node: OnnxNode) -> Function:
    """``F.linear`` where the second is a constant matrix."""
    weight = node.constant(1)
    if weight is not None and weight.dim() == 2 and node.rank(0) >= 2:
        node.replace(1, weight.t().contiguous())
        return F.linear
    return torch.matmul


@operator("Gemm", parameters=("", "weight", "bias"))
def gemm(node: OnnxNode) -> Function:
    """``F.linear`` where it is one; factors are multiplied into constants."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    first, second = node.attribute("transA", 0), node.attribute("transB", 0)
    weight, bias = node.constant(1), node.constant(2)
    is_known = weight is not None and (bias is not None or not node.has(2))
    is_row = bias is None or bias.dim() <= 1 or bias.shape[0] == 1
    if weight is not None and is_known and is_row and not first:
        return _as_linear(node, weight, bias, (alpha, beta), bool(second))

    def function(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        product = torch.mm(a.t() if first else a, b.t() if second else b)
        product = product if alpha == 1 else alpha * product
        if c is None:
            return product
        return product + (c if beta == 1 else beta * c)

    return function


def _as_linear(
    node: OnnxNode,
    weight: Tensor,
    bias: Tensor | None,
    factors: tuple[float, float],
    transposed: bool,
) -> Function:
    alpha, beta = factors
    matrix = weight if transposed else weight.t().contiguous()
    if alpha != 1 or not transposed:
        node.replace(1, matrix if alpha == 1 else matrix * alpha)
    if bias is not None:
        row = bias if bias.dim() == 1 and beta == 1 else bias.reshape(-1) * beta
        if row.numel() != matrix.shape[0]:
            row = row.expand(matrix.shape[0]).contiguous()
        if row is not bias:
            node.replace(2, row)
    return F.linear


@operator("Einsum")
def einsum(node: OnnxNode) -> Function:
    equation = node.attribute("equation").replace(" ", "")
    return lambda *values: torch.einsum(equation, *values)


@operator("Attention")
def attention(node: OnnxNode) -> Function:
    """Scaled dot products of ``[N, heads, length, size]``, with or without a mask."""
    if any(node.has(i) for i in (4, 5, 6)) or any(node.has_output(i) for i in (1, 2, 3)):
        node.fail("a key and value cache is not supported")
    if node.rank(0) != 4 or node.attribute("softcap", 0.0):
        node.fail("only queries of 4 dimensions without softcap are supported")
    scale, causal = node.attribute("scale"), bool(node.attribute("is_causal", 0))
    grouped = node.shape(0)[1] != node.shape(1)[1]

    def function(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
        )

    return function

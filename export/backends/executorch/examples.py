"""Examples of what ExecuTorch refuses or gets wrong, and what XNNPACK leaves to its own kernels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

EXAMPLES: tuple[Example, ...] = (
    Example("adaptive-max-pool", nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(1)),
    Example("max-with-place", lambda x: x.max(1)[0], lambda x: x + x),
    Example("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="bilinear"),
    ),
    Example("softmax-over-width", lambda x: x.softmax(-1), lambda x: x.flatten(2).softmax(2)),
    Example(
        "softmax-over-width",
        lambda x: f.gelu(x).transpose(1, 2).softmax(3),
        lambda x: x.reshape(len(x), 2, 4, -1).softmax(3),
    ),
    Example(
        "softmax-over-width",
        lambda x: (x * x.mean((2, 3), True)).softmax(3),
        nn.Sequential(nn.Linear(40, 5), nn.Softmax(3)),
    ),
    Example(
        "portable-resize",
        lambda x: f.interpolate(x, scale_factor=2),
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
        cpu_ops=("upsample_nearest2d",),
    ),
    Example(
        "portable-resize",
        lambda x: f.interpolate(x, size=(12, 20), mode="bilinear", antialias=True),
        lambda x: f.interpolate(x, size=(12, 20), mode="bilinear", align_corners=True),
        cpu_ops=("_upsample_bilinear2d_aa",),
    ),
    Example(
        "portable-pool",
        nn.AvgPool2d(3, 1, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        cpu_ops=("avg_pool2d",),
    ),
    Example(
        "portable-pool",
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2),
        cpu_ops=("avg_pool2d",),
    ),
    Example(
        "portable-pool",
        nn.MaxPool2d(2, 3),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        cpu_ops=("max_pool2d",),
    ),
    Example(
        "portable-pool",
        nn.AdaptiveAvgPool2d(4),
        nn.AdaptiveAvgPool2d(1),
        cpu_ops=("_adaptive_avg_pool2d",),
    ),
    Example(
        "portable-reduction",
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((2, 3), True),
        cpu_ops=("mean",),
    ),
    Example(
        "portable-reduction",
        lambda x: x.mean(1, keepdim=True),
        lambda x: x[:, :1],
        cpu_ops=("mean",),
    ),
    Example(
        "portable-reduction", lambda x: x.amax((2, 3)), lambda x: x.clamp(min=0), cpu_ops=("amax",)
    ),
    Example("portable-reduction", lambda x: x.var((2, 3)), lambda x: x**2, cpu_ops=("var",)),
    Example("portable-reduction", lambda x: x.norm(dim=1), lambda x: x.abs(), cpu_ops=("sum",)),
    Example(
        "portable-slice", lambda x: x[..., ::2], nn.Conv2d(8, 8, 1, (1, 2)), cpu_ops=("slice_copy",)
    ),
    Example("portable-softmax", lambda x: x.softmax(1), torch.sigmoid, cpu_ops=("_softmax",)),
    Example(
        "portable-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding=1),
        cpu_ops=("index",),
    ),
    Example(
        "portable-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        nn.ZeroPad2d((0, 1, 0, 1)),
        cpu_ops=("slice_scatter",),
    ),
    Example("portable-operator", f.elu, f.hardswish, cpu_ops=("elu",)),
    Example("int8-stop", f.mish, f.silu, precision="int8", cpu_ops=("log1p",)),
    Example(
        "portable-operator", lambda x: f.log_softmax(x, 1), torch.tanh, cpu_ops=("_log_softmax",)
    ),
    Example(
        "portable-operator", nn.LayerNorm(40), nn.Linear(40, 5), cpu_ops=("native_layer_norm",)
    ),
    Example(
        "portable-operator", nn.GroupNorm(2, 8), nn.BatchNorm2d(8), cpu_ops=("native_group_norm",)
    ),
    Example("portable-operator", nn.InstanceNorm2d(8), nn.PReLU(8), cpu_ops=("no_stats",)),
    Example(
        "portable-operator",
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
        lambda x: torch.cat((x[:, 4:], x[:, :4]), 1),
        cpu_ops=("split_with_sizes_copy",),
    ),
    Example("portable-operator", lambda x: x[:, [3, 1]], lambda x: x[:, 1:3], cpu_ops=("index",)),
    Example(
        "portable-operator",
        lambda x: x.repeat(1, 2, 1, 1),
        lambda x: torch.cat((x, -x), 1),
        cpu_ops=("repeat",),
    ),
    Example(
        "portable-operator",
        lambda x: x.mean((2, 3), True).expand(-1, -1, 3, 4),
        lambda x: x * x.mean((2, 3), True),
        cpu_ops=("expand_copy",),
    ),
    Example(
        "portable-operator",
        lambda x: torch.where(x > 0, x, 0.1 * x),
        torch.relu,
        cpu_ops=("where",),
    ),
    Example("portable-operator", lambda x: x.argmax(1).float(), torch.neg, cpu_ops=("argmax",)),
    Example(
        "portable-operator", lambda x: x.flip(3), lambda x: x.permute(0, 2, 3, 1), cpu_ops=("flip",)
    ),
    Example(
        "portable-operator",
        lambda x: f.scaled_dot_product_attention(x, x, x),
        lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)),
        cpu_ops=("any",),
    ),
    Example("int8-stop", f.softplus, f.silu, precision="int8"),
    Example("int8-stop", f.logsigmoid, f.silu, precision="int8"),
    Example(
        "int8-grouped-rows",
        nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(8, 4, 4, 2, 1, groups=2)),
        nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(8, 4, 4, 2, 1)),
        precision="int8",
    ),
    Example(
        "int8-padding",
        lambda x: f.max_pool2d(f.pad(x, (1, 1, 1, 1)), 2),
        lambda x: f.max_pool2d(x, 2, 2, 1),
        precision="int8",
    ),
    Example(
        "int8-padding",
        lambda x: f.pad(x, (0, 1, 0, 1)).relu(),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 4, 3, 2)),
        precision="int8",
    ),
)

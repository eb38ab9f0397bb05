"""What to write in place of what the K210 cannot compute: for the compiler and for the rules."""

from __future__ import annotations

ADVICE = {
    "kernel": "use 3x3 ones in its place: two reach as far as a 5x5",
    "groups": "use groups=1, or as many as channels (depthwise)",
    "dilation": "use dilation=1, with a stride before it",
    "stride": "use stride 2, or 2 and a pool",
    "odd-map": "use an input whose sides can be halved that often",
    "padding": "use padding=1 with 3x3 and padding=0 with 1x1",
    "channels": "make it narrower",
    "small-map": "use a larger input or fewer strides; a head's 1x1 belongs in front of the pool",
    "large-map": "use a smaller input",
    "large-linear": "pool to a mean first, or use a 1x1 convolution in front of the pool",
    "depthwise-stride": "let a dense 1x1 convolution follow, as in MobileNet: it takes the stride "
    "for nothing",
    "transposed-convolution": "upsample by nearest and convolve: nn.Upsample(scale_factor=2), then "
    "a 3x3",
    "prelu": "use ReLU or LeakyReLU, whose slope is one number",
    "normalization": "use batch normalisation right behind a convolution: it folds away",
    "normalization-inside": "batch normalisation belongs right behind a convolution; an image's "
    "mean and std in the spec, which folds them into the first layer",
    "slice": "take it out of the network; in place of a split, convolve twice",
    "transpose": "keep the channels in front, and decode outside of the network",
    "resize": "upsample by nearest with a whole factor",
    "padding-layer": "give the next convolution padding=1, the same on all sides; edgeark "
    "rewrite finds equal ones for (0,1,0,1)",
    "pool": "use 2x2 with stride 2, 4x4 with stride 4, or the whole map",
    "mean": "use nn.AvgPool2d of the map's size, or mean((2, 3))",
    "max-of-maps": "use nn.MaxPool2d of the map's size, or a mean",
    "product": "use convolutions",
    "linear-of-a-map": "flatten in front of it, or use a 1x1 convolution",
    "two-tensors": "add tensors of one shape; a gate such as an SE block has to go",
    "concat": "concatenate along dimension 1",
    "upsample-factor": "use scale_factor=2",
    "softmax": "take it out of the network",
    "log-softmax": "take it out of the network",
}
"""By the name of the rule that says it first."""

BY_ONNX_OPERATOR = {
    "ConvTranspose": "transposed-convolution",
    "BatchNormalization": "normalization-inside",
    "InstanceNormalization": "normalization",
    "LayerNormalization": "normalization",
    "PRelu": "prelu",
    "Pad": "padding-layer",
    "Slice": "slice",
    "Split": "slice",
    "Transpose": "transpose",
    "Resize": "resize",
    "AveragePool": "pool",
    "MaxPool": "pool",
    "MatMul": "product",
    "Gemm": "linear-of-a-map",
    "Softmax": "softmax",
    "Concat": "concat",
    "Mul": "two-tensors",
    "Add": "two-tensors",
}
"""The rule about each operator of ONNX; the file has no other names for it."""

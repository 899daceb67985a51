#!/usr/bin/env python3
"""PyTorch's convolutions, which are oneDNN's, for the benchmark ConvVersusOneDNN of runtime/kernel: one thread, float32.

A case (see kernel_side.py):

    {"images": 32, "groups": 1, "ins": 64, "outs": 64, "in": [32, 32], "kernel": [3, 3], "stride": [1, 1], "dilation": [1, 1], "pad": [1, 1],
     "direction": "forward", "calls": 3}

ins and outs are channels of a group; direction is "forward", "input" or "weight", the last two for the gradients.
"""

import kernel_side
import torch


def work(case, layout):
    """A function that computes one direction of a case."""
    group, ins, outs = case["groups"], case["groups"] * case["ins"], case["groups"] * case["outs"]
    stride, pad, dilation = case["stride"], case["pad"], case["dilation"]
    x = torch.randn(case["images"], ins, *case["in"]).to(memory_format=layout)
    w = torch.randn(outs, case["ins"], *case["kernel"]).to(memory_format=layout)

    def forward():
        return torch.nn.functional.conv2d(x, w, None, stride, pad, dilation, group)

    if case["direction"] == "forward":
        return forward
    g = torch.randn(forward().shape).to(memory_format=layout)
    mask = [case["direction"] == "input", case["direction"] == "weight", False]
    return lambda: torch.ops.aten.convolution_backward(g, x, w, None, stride, pad, dilation, False, [0, 0], group, mask)


if __name__ == "__main__":
    kernel_side.serve(work)

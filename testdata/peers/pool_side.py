#!/usr/bin/env python3
"""PyTorch's poolings for the benchmark PoolVersusPyTorch of runtime/kernel: one thread, float32.

A case (see kernel_side.py):

    {"pool": "max", "x": [32, 64, 112, 112], "kernel": [3, 3], "stride": [2, 2], "pad": [1, 1], "direction": "forward", "calls": 3}

pool is "max", "average" or "global", direction "forward" (of a training step: a maximum with its indices) or "input", the gradient.
"""

import kernel_side
import torch

functional = torch.nn.functional


def work(case, layout):
    """A function that computes one direction of a case."""
    x = torch.randn(*case["x"]).to(memory_format=layout)
    kernel, stride, pad = case.get("kernel"), case.get("stride"), case.get("pad")
    aten = torch.ops.aten
    if case["pool"] == "max":
        forward = lambda: functional.max_pool2d(x, kernel, stride, pad, return_indices=True)
        y, indices = forward()
        backward = lambda: aten.max_pool2d_with_indices_backward(g, x, kernel, stride, pad, [1, 1], False, indices)
    elif case["pool"] == "average":
        forward = lambda: functional.avg_pool2d(x, kernel, stride, pad, count_include_pad=False)
        y = forward()
        backward = lambda: aten.avg_pool2d_backward(g, x, kernel, stride, pad, False, False, None)
    else:
        forward = lambda: functional.adaptive_avg_pool2d(x, 1)
        y = forward()
        backward = lambda: (g / (x.shape[2] * x.shape[3])).expand(x.shape).contiguous(memory_format=layout)
    g = torch.randn(y.shape).to(memory_format=layout)
    return forward if case["direction"] == "forward" else backward


if __name__ == "__main__":
    kernel_side.serve(work)

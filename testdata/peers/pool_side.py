#!/usr/bin/env python3
"""PyTorch's poolings for the benchmark PoolVersusPyTorch of runtime/kernel: one thread, float32.

Each line of standard input is a case in JSON:

    {"pool": "max", "x": [32, 64, 112, 112], "kernel": [3, 3], "stride": [2, 2], "pad": [1, 1], "direction": "forward", "calls": 3}

pool is "max", "average" or "global", direction "forward" (of a training step: a maximum with its indices) or "input", the gradient.
The answer is a line of JSON with the seconds of processor time a call, for tensors stored plane after plane ("contiguous") and
channels last ("channels_last"). A case that is asked for again keeps its tensors.
"""

import json
import sys
import time

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


def main():
    torch.set_num_threads(1)
    print(json.dumps({"version": torch.__version__, "onednn": torch.backends.mkldnn.is_available()}), flush=True)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    last, runs = None, {}
    for line in sys.stdin:
        if line != last:
            case, last = json.loads(line), line
            runs = {name: work(case, layout) for name, layout in layouts.items()}
        answer = {}
        with torch.no_grad():
            for name, run in runs.items():
                run()  # brings the tensors back into the caches, as the other side's are
                start = time.thread_time()
                for _ in range(case["calls"]):
                    run()
                answer[name] = (time.thread_time() - start) / case["calls"]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

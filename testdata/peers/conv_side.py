#!/usr/bin/env python3
"""PyTorch's convolutions, which are oneDNN's, for the benchmark ConvVersusOneDNN of runtime/kernel: one thread, float32.

Each line of standard input is a case in JSON:

    {"images": 32, "groups": 1, "ins": 64, "outs": 64, "in": [32, 32], "kernel": [3, 3], "stride": [1, 1], "dilation": [1, 1], "pad": [1, 1],
     "direction": "forward", "calls": 3}

ins and outs are channels of a group; direction is "forward", "input" or "weight", the last two for the gradients. The answer
is a line of JSON with the seconds of processor time a call, for tensors stored plane after plane ("contiguous") and channels
last ("channels_last"). A case that is asked for again keeps its tensors.
"""

import json
import sys
import time

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

"""PyTorch's side of the kernel benchmarks of runtime/kernel: one thread, float32.

Each line of standard input is a case in JSON, with a number of "calls" beside what the program says of itself. The answer is a
line of JSON with the seconds of processor time a call, for tensors stored plane after plane ("contiguous") and channels last
("channels_last"). A case that is asked for again keeps its tensors.
"""

import json
import sys
import time

import torch


def serve(work):
    """work(case, layout) gives a function that computes the case."""
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

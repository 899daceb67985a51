"""One side of a comparison: a process that runs windows of steps when it is told to.

The protocol is that of `asdlc bench --serve`: a line of JSON when the process is ready, then for each line of standard input,
a number of seconds, a line of JSON with the steps and the seconds of a window of at least that length.
"""

import json
import math
import sys
import time


def resident(field):
    """VmRSS or VmHWM of this process in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as f:
            return next(1024 * int(line.split()[1]) for line in f if line.startswith(field))
    except (OSError, StopIteration):
        return 0


def serve(step, period, idle, **about):
    """step() runs one step and returns the loss. Windows are of whole periods; two steps are for warming up."""
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    step()
    answer(period=period, idle_bytes=idle, build_bytes=resident("VmHWM"), first_step_seconds=first, **about)
    for line in sys.stdin:
        steps, start = 0, time.perf_counter()
        while steps == 0 or time.perf_counter() - start < float(line):
            for _ in range(period):
                loss = step()
            steps += period
        seconds = time.perf_counter() - start
        if not math.isfinite(loss := float(loss)):
            sys.exit(f"the loss is not finite ({loss})")
        answer(steps=steps, seconds=seconds, loss=loss, resident_bytes=resident("VmHWM"))


def answer(**fields):
    print(json.dumps(fields), flush=True)

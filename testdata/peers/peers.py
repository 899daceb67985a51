#!/usr/bin/env python3
"""Measure asdlc beside PyTorch, ASDL and onnxruntime.

    peers.py [--asdlc bin/asdlc] [--networks mlp,resnet18] [--methods kfac,shampoo] [--every 1,10] [--json FILE] [--markdown FILE]

Each side is a process of its own that runs a window of steps when it is told to. For each network and batch size stochastic
gradient descent comes first: asdlc, PyTorch and onnxruntime (on the step graph that asdlc exports), each with one thread and
with all; the faster one counts. Then for each method and interval asdlc, ASDL, and the stochastic gradient descent of both
take turns, forwards and backwards through the list, so that whatever else the machine does falls on all alike. Ratios are
medians over rounds of the ratios within a round. Networks and their numbers of parameters are equal on all sides. Memory is
the peak of a process, less that of the same process before it had a network.

asdlc runs records/*.yaml, methods by ASDL's conventions; --records paper takes its own records instead.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent

# The networks: the command line of asdlc new, the module of testdata/interop/zoo.py, the shape of an example, batch sizes,
# and records that differ from the methods' names.
IMAGE = dict(classes=10, width=64, image=32, imagenet=False)
NETWORKS = {
    "mlp-512": dict(new=["mlp"], network="mlp", options=dict(widths=[784, 512, 512, 10]), shape=[784], batches=[32, 128]),
    "mlp-2048": dict(
        new=["mlp", "--widths", "784,2048,2048,10"],
        network="mlp",
        options=dict(widths=[784, 2048, 2048, 10]),
        shape=[784],
        batches=[128],
    ),
    "resnet18": dict(
        new=["resnet18"],
        network="resnet18",
        options=IMAGE,
        shape=[3, 32, 32],
        batches=[32, 128],
        records=dict(seng="seng-conv"),
    ),
    "vit-tiny": dict(
        new=["vit-tiny"],
        network="vit-tiny",
        options=IMAGE | dict(width=192, depth=12, heads=3, patch=4),
        shape=[3, 32, 32],
        batches=[32],
    ),
}
CLASSES = 10

METHODS = ("kfac", "shampoo", "psgd-kf", "k-bfgs", "seng")

# Records of methods that keep statistics from step to step, where those of every step are none to keep; BATCH stands for the
# batch size.
KEPT = {"seng": "seng-kept"}

# Set on some machines to force the kernels of another processor; nobody is to be measured with that.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Side:
    """A process that runs windows, or the reason why there is none."""

    def __init__(self, command, threads, limit):
        env = {k: v for k, v in os.environ.items() if k not in UNSET}
        env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONHASHSEED": "0"}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )
        self.error, self.windows, late = None, [], threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), self.process.kill()))
        timer.start()
        self.about = self.receive()
        timer.cancel()
        if late.is_set():
            self.error = f"the first two steps took more than {limit:.0f} s"

    def receive(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        lines = [x for x in self.errors.read().splitlines() if x.strip()]
        self.error = (lines[-1] if lines else f"exit status {code}")[:300]
        return {}

    def window(self, seconds):
        if self.error:
            return
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        window = self.receive()
        self.windows.append(window if not self.error else None)

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()
        self.errors.close()

    def times(self):
        """Seconds a step, by rounds."""
        return [w["seconds"] / w["steps"] for w in self.windows if w]

    def step(self):
        return statistics.median(self.times())

    def memory(self):
        """Bytes at the peak, less those of the process without a network; 0 where the system does not tell."""
        return max(0, max(self.about["build_bytes"], self.stepping()) - self.about["idle_bytes"])

    def stepping(self):
        """Bytes at the peak while the steps ran, or since the start where the process cannot tell them apart."""
        return max((w["resident_bytes"] for w in self.windows if w), default=0)

    def bytes(self):
        return dict(memory_bytes=self.memory(), stepping_bytes=max(0, self.stepping() - self.about["idle_bytes"]))


def rounds(sides, options):
    """Windows in turn, until there are enough or the time is spent; at least two."""
    for side in sides:
        side.windows = []
    start = time.monotonic()
    for k in range(options.rounds):
        for side in sides if k % 2 == 0 else reversed(sides):
            side.window(options.seconds)
        if k >= 1 and time.monotonic() - start > options.budget:
            break


def ratio(a, b):
    """How much faster side b is than side a: median, least and most over rounds."""
    r = [x / y for x, y in zip(a.times(), b.times())]
    return [statistics.median(r), min(r), max(r)] if r else None


class Comparison:
    """One network at one batch size."""

    def __init__(self, name, batch, folder, options):
        self.name, self.batch, self.options = name, batch, options
        self.network = NETWORKS[name]
        self.model = str(folder / f"{name}.onnx")
        self.folder = folder
        said = self.asdlc("new", *self.network["new"], "-o", self.model, "-f")
        self.parameters = int(said.split(":")[1].split()[0])
        self.asdlc("instrument", self.model, "-m", "sgd", "--set", "update.momentum=0.9", "-o", self.path("sgd.onnx"), "-f")

    def path(self, end):
        return str(self.folder / f"{self.name}.{end}")

    def asdlc(self, *args):
        done = subprocess.run([self.options.asdlc, *args], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"asdlc {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def ours(self, method, every, threads):
        record = method
        if method != "sgd" and self.options.records == "asdl":
            name = self.network.get("records", {}).get(method, method)
            if every > 1:
                name = KEPT.get(method, name)
            record = self.path(f"{name}.yaml")
            text = (HERE / "records" / f"{name}.yaml").read_text()
            pathlib.Path(record).write_text(text.replace("BATCH", str(self.batch)))
        command = [self.options.asdlc, "bench", "--serve", "--models", self.model, "--methods", record]
        command += ["--batch", str(self.batch), "--threads", str(threads)]
        if method != "sgd" and (every > 1 or method not in KEPT):
            command += ["--every", str(every)]
        return Side(command, threads, self.options.limit)

    def torch(self, method, every, threads):
        case = dict(batch=self.batch, method=method, every=every, threads=threads, classes=CLASSES)
        case |= {k: self.network[k] for k in ("network", "options", "shape")}
        side = Side([sys.executable, str(HERE / "torch_side.py"), json.dumps(case)], threads, self.options.limit)
        if not side.error and side.about["parameters"] != self.parameters:
            sys.exit(f"{self.name}: {side.about['parameters']} parameters in PyTorch, {self.parameters} in asdlc")
        return side

    def onnxruntime(self, threads):
        case = dict(step=self.path("sgd.onnx"), init=self.path("sgd.init.onnx"), batch=self.batch, classes=CLASSES, threads=threads)
        return Side([sys.executable, str(HERE / "onnxruntime_side.py"), json.dumps(case)], threads, self.options.limit)

    def sgd(self):
        """Stochastic gradient descent of all: the faster number of threads of each, and the row of the table."""
        o = self.options
        counts = sorted({1, o.threads})
        make = {"asdlc": lambda n: self.ours("sgd", 1, n), "torch": lambda n: self.torch("sgd", 1, n), "onnxruntime": self.onnxruntime}
        all_sides = {(who, n): start(n) for who, start in make.items() for n in counts}
        for (who, n), side in all_sides.items():
            if side.error:
                sys.exit(f"{self.name}, batch {self.batch}: SGD of {who} with {n} threads: {side.error}")
        rounds(list(all_sides.values()), o)
        best = {who: min((all_sides[who, n] for n in counts), key=Side.step) for who in make}
        row = dict(network=self.name, batch=self.batch, parameters=self.parameters)
        for who, side in best.items():
            row[who] = dict(step_seconds=side.step(), threads=side.about["threads"], **side.bytes())
            row[who]["by_threads"] = {n: all_sides[who, n].step() for n in counts}
        row["faster_than_torch"] = ratio(best["torch"], best["asdlc"])
        row["faster_than_onnxruntime"] = ratio(best["onnxruntime"], best["asdlc"])
        for side in all_sides.values():
            if side not in (best["asdlc"], best["torch"]):
                side.stop()
        return row, best["asdlc"], best["torch"]

    def method(self, method, every, our_sgd, their_sgd):
        """A method at an interval on both sides, beside their stochastic gradient descents."""
        ours, theirs = self.ours(method, every, self.options.threads), self.torch(method, every, self.options.threads)
        rounds([our_sgd, ours, theirs, their_sgd], self.options)
        row = dict(network=self.name, batch=self.batch, method=method, every=every, rounds=len(our_sgd.windows))
        for who, side, sgd in (("asdlc", ours, our_sgd), ("asdl", theirs, their_sgd)):
            row[who] = dict(threads=self.options.threads)
            if side.times():
                row[who] |= dict(step_seconds=side.step(), sgd_step_seconds=sgd.step(), **side.bytes())
                row[who] |= dict(throughput_to_sgd=ratio(sgd, side), memory_to_sgd=side.memory() / max(1, sgd.memory()))
                if who == "asdlc":
                    row[who]["throughput_to_torch_sgd"] = ratio(their_sgd, side)
            if side.error:
                row[who]["error"] = side.error
            side.stop()
        if ours.times() and theirs.times():
            row["faster"] = ratio(theirs, ours)
            row["less_memory"] = theirs.memory() / max(1, ours.memory())
        return row


def versions(options):
    import numpy
    import onnxruntime
    import torch
    from importlib import metadata

    def field(path, name):
        try:
            return next(x.split(":")[1].strip() for x in open(path) if x.startswith(name))
        except (OSError, StopIteration):
            return ""

    about = subprocess.run([options.asdlc, "version"], capture_output=True, text=True).stdout.strip()
    return dict(
        asdlc=about,
        torch=torch.__version__,
        asdl="asdfghjkl " + metadata.version("asdfghjkl"),
        onnxruntime=onnxruntime.__version__,
        numpy=numpy.__version__,
        python=platform.python_version(),
        cpu=field("/proc/cpuinfo", "model name"),
        cpus=os.cpu_count(),
        threads=options.threads,
        unset=[k for k in UNSET if k in os.environ],
    )


def markdown(report):
    """The tables."""
    ms = lambda d: f"{1000 * d['step_seconds']:.3g}"
    mib = lambda d: f"{d['memory_bytes'] / 2**20:.0f}"
    spread = lambda r: f"{r[0]:.2f} ({r[1]:.2f}-{r[2]:.2f})"
    v = report["versions"]
    lines = [
        f"{v['asdlc']}; PyTorch {v['torch']}, ASDL ({v['asdl']}), onnxruntime {v['onnxruntime']}, Python {v['python']}; "
        f"{v['cpu']}, {v['threads']} threads",
        "",
        "| SGD | batch | asdlc ms (threads) | PyTorch ms (threads) | onnxruntime ms (threads) | faster than PyTorch | than onnxruntime | MiB: asdlc | PyTorch | onnxruntime |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in report["sgd"]:
        times = [f"{ms(r[w])} ({r[w]['threads']})" for w in ("asdlc", "torch", "onnxruntime")]
        cells = [r["network"], r["batch"], *times, spread(r["faster_than_torch"]), spread(r["faster_than_onnxruntime"])]
        cells += [mib(r[w]) for w in ("asdlc", "torch", "onnxruntime")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "| network | batch | method | T | asdlc ms | x SGD | x PyTorch's SGD | ASDL ms | x SGD | faster | MiB: asdlc | x SGD | ASDL | x SGD |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for r in report["methods"]:
        cells = [r["network"], r["batch"], r["method"], r["every"]]
        a, b = r["asdlc"], r["asdl"]
        for side, name in ((a, "asdlc"), (b, "ASDL")):
            if "error" in side:
                notes.append(f"{r['network']}, batch {r['batch']}, {r['method']}, T = {r['every']}: {name}: {side['error']}")
        ran = lambda d: "step_seconds" in d
        cells += [ms(a), f"{a['throughput_to_sgd'][0]:.3f}", f"{a['throughput_to_torch_sgd'][0]:.3f}"] if ran(a) else ["failed", "-", "-"]
        cells += [ms(b), f"{b['throughput_to_sgd'][0]:.3f}"] if ran(b) else ["failed", "-"]
        cells.append(spread(r["faster"]) if "faster" in r else "-")
        for d in (a, b):
            cells += [mib(d), f"{d['memory_to_sgd']:.2f}"] if ran(d) else ["-", "-"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines + [""] + [f"* {n}" for n in notes]) + "\n"


def listed(kind=str):
    return lambda text: [kind(x) for x in text.split(",")]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--asdlc", default="bin/asdlc", help="the program")
    p.add_argument("--networks", type=listed(), default=list(NETWORKS), help="of " + ", ".join(NETWORKS))
    p.add_argument("--batch", type=listed(int), help="batch sizes, in place of those of the networks")
    p.add_argument("--methods", type=listed(), default=list(METHODS), help="of " + ", ".join(METHODS) + "; or none")
    p.add_argument("--every", type=listed(int), default=[1, 10], help="intervals T")
    p.add_argument("--records", choices=("asdl", "paper"), default="asdl", help="conventions of asdlc's methods")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="all threads")
    p.add_argument("--rounds", type=int, default=7, help="windows of each side")
    p.add_argument("--seconds", type=float, default=0.5, help="of a window, at least")
    p.add_argument("--budget", type=float, default=180, help="seconds after which a comparison of two rounds or more ends")
    p.add_argument("--limit", type=float, default=600, help="seconds allowed for the first two steps of a side")
    p.add_argument("--json", help="file for all numbers")
    p.add_argument("--markdown", help="file for the tables, which are printed as well")
    o = p.parse_args()
    for what, known in (("networks", NETWORKS), ("methods", list(METHODS) + ["none"])):
        if unknown := set(getattr(o, what)) - set(known):
            p.error(f"--{what}: no {', '.join(sorted(unknown))}; want some of {', '.join(known)}")
    o.methods = [m for m in o.methods if m != "none"]
    return o


def write(path, text):
    """The whole file or none: under another name first."""
    if path:
        with tempfile.NamedTemporaryFile("w", dir=pathlib.Path(path).resolve().parent, delete=False) as f:
            f.write(text)
        os.chmod(f.name, 0o644)
        os.replace(f.name, path)


def main():
    options = arguments()
    report = dict(versions=versions(options), options=vars(options), sgd=[], methods=[])
    note = lambda text: print(text, file=sys.stderr, flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            for batch in options.batch or NETWORKS[name]["batches"]:
                comparison = Comparison(name, batch, pathlib.Path(folder), options)
                note(f"[{time.monotonic() - start:.0f} s] {name}, batch {batch}: SGD")
                row, our_sgd, their_sgd = comparison.sgd()
                report["sgd"].append(row)
                for method in options.methods:
                    for every in options.every:
                        note(f"[{time.monotonic() - start:.0f} s] {name}, batch {batch}: {method}, T = {every}")
                        report["methods"].append(comparison.method(method, every, our_sgd, their_sgd))
                        report["seconds"] = time.monotonic() - start
                        write(options.json, json.dumps(report, indent=1) + "\n")
                our_sgd.stop(), their_sgd.stop()
    report["seconds"] = time.monotonic() - start
    write(options.json, json.dumps(report, indent=1) + "\n")
    write(options.markdown, markdown(report))
    print(markdown(report), end="")


if __name__ == "__main__":
    main()

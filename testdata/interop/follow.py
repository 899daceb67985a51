#!/usr/bin/env python3
"""Run a training-step graph in stock onnxruntime.

    follow.py STEP.onnx [INIT.onnx] --steps N --feeds FEEDS.npz ... --out OUT.npz ... [--check]

FEEDS.npz holds an array for each input name; NAME@k is for step k alone (from 0) and goes before the state that step k-1
left. OUT.npz gets every output of every step as NAME@k. Each pair of FEEDS and OUT is a run of its own. Without INIT.onnx
the step graph must hold its initial state (asdlc instrument --embed). A step graph of --split comes with others,
STEP.refresh.onnx and so on: they are found beside it and run when their clocks tick. So are those of --async,
STEP.solve.onnx and so on: what they give is used some steps later, so a host may run them on a thread of its own. A model that is no step graph has no
state, and runs as it is. --check runs the ONNX checker on the files first.
"""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime as ort


def open_model(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call(session, feeds):
    """All outputs by name; feeds may hold more than the session takes."""
    takes = {i.name for i in session.get_inputs()} | {i.name for i in session.get_overridable_initializers()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {k: v for k, v in feeds.items() if k in takes})))


def ticks(clock, step):
    schedule, warmup = clock.get("schedule", ""), clock.get("warmup", 0)
    if schedule:
        return step < len(schedule) and schedule[step] == "1"
    return step <= warmup or (step - warmup) % max(clock["every"], 1) == clock.get("phase", 0)


def variant(clocks, step):
    """The name of the step graph that is due; "" is the plain one."""
    ticking = [c["name"] for c in clocks if ticks(c, step)]
    return "refresh" if clocks and len(ticking) == len(clocks) else "-".join(ticking)


class Steps:
    """The step graph, or under --split the set of them."""

    def __init__(self, path):
        self.path, self.sessions = pathlib.Path(path), {}
        first = open_model(path)
        meta = first.get_modelmeta().custom_metadata_map
        self.clocks = json.loads(meta.get("asdl.clocks", "[]"))
        self.sessions[meta.get("asdl.variant", "")] = first

    def at(self, step):
        """The session that is due, and the states that it returns."""
        name = variant(self.clocks, step)
        if name not in self.sessions:
            self.sessions[name] = open_model(self.path.with_suffix(f".{name}.onnx"))
        session = self.sessions[name]
        return session, json.loads(session.get_modelmeta().custom_metadata_map.get("asdl.state", "[]"))


class Solves:
    """The delayed solves of a step graph."""

    def __init__(self, steps):
        meta = steps.at(0)[0].get_modelmeta().custom_metadata_map
        self.clocks = json.loads(meta.get("asdl.solves", "[]"))
        self.sessions = [open_model(steps.path.with_suffix(f".{c['name']}.onnx")) for c in self.clocks]
        self.pending = {}  # name of the clock: the step from which on they are used, and the solutions

    def before(self, step, feeds):
        """Puts the solutions that are due into the state."""
        for name in [name for name, (due, _) in self.pending.items() if due == step]:
            for out, a in self.pending.pop(name)[1].items():
                if out == "asdl/failures":
                    feeds["asdl/guards"] = np.asarray(feeds["asdl/guards"] + a)
                else:
                    feeds[out.removesuffix("/next")] = a

    def after(self, step, feeds):
        """Solves what is due from the state that the step left."""
        for c, session in zip(self.clocks, self.sessions):
            if step > c.get("warmup", 0) and ticks(c, step):
                self.pending[c["name"]] = step + c["delay"], call(session, feeds)


def follow(steps, init, data, n):
    """The outputs of n steps as NAME@k."""
    feeds = dict(init)
    feeds |= {name: a for name, a in data.items() if "@" not in name}
    results, solves = {}, Solves(steps)
    count = lambda otherwise: int(feeds.get("asdl/step", otherwise))  # of the steps that were made
    for k in range(n):
        feeds |= {name.split("@")[0]: a for name, a in data.items() if name.endswith(f"@{k}")}
        step = count(k)
        solves.before(step, feeds)
        session, state = steps.at(step)
        outs = call(session, feeds)
        for s in state:
            feeds[s["in"]] = outs[s["out"]]
        if count(k + 1) > step:
            solves.after(step, feeds)
        results |= {f"{name}@{k}": a for name, a in outs.items()}
    return results


def main():
    p = argparse.ArgumentParser()
    p.add_argument("step")
    p.add_argument("init", nargs="?")
    p.add_argument("--steps", type=int, default=1)
    p.add_argument("--feeds", nargs="+", required=True)
    p.add_argument("--out", nargs="+", required=True)
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    if args.check:
        import onnx

        for path in filter(None, [args.step, args.init]):
            onnx.checker.check_model(path, full_check=True)
    steps = Steps(args.step)
    init = call(open_model(args.init), {}) if args.init else {}
    for feeds, out in zip(args.feeds, args.out, strict=True):
        np.savez(out, **follow(steps, init, dict(np.load(feeds)), args.steps))


if __name__ == "__main__":
    main()

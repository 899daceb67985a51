#!/usr/bin/env python3
"""onnxruntime's side: a step graph of asdlc, its state kept in onnxruntime's own tensors.

    onnxruntime_side.py '{"step": "STEP.onnx", "init": "STEP.init.onnx", "batch": 32, "classes": 10, "threads": 1}'
"""

import json
import sys

import numpy as np
import onnxruntime as ort

import side

RATE = 1e-7


def open_model(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    idle = side.resident("VmHWM")
    case = json.loads(sys.argv[1])
    init, step = open_model(case["init"], case["threads"]), open_model(case["step"], case["threads"])
    values = dict(zip([o.name for o in init.get_outputs()], init.run(None, {})))
    del init
    values["lr"] = np.full_like(values["lr"], RATE)
    rng = np.random.default_rng(0)
    for i in step.get_inputs():
        if i.name not in values:
            shape = [d if isinstance(d, int) else case["batch"] for d in i.shape]
            labels = i.type == "tensor(int64)"
            values[i.name] = rng.integers(case["classes"], size=shape) if labels else rng.standard_normal(shape, np.float32)
    feeds = {name: ort.OrtValue.ortvalue_from_numpy(v) for name, v in values.items()}
    del values
    state = {s["out"]: s["in"] for s in json.loads(step.get_modelmeta().custom_metadata_map["asdl.state"])}
    takes = {i.name for i in step.get_inputs()}
    feeds = {name: v for name, v in feeds.items() if name in takes}
    wanted = [o.name for o in step.get_outputs()]

    def run():
        out = dict(zip(wanted, step.run_with_ort_values(wanted, feeds)))
        for name, into in state.items():
            feeds[into] = out[name]
        return out["loss"].numpy()

    side.serve(run, 1, idle, threads=case["threads"])


if __name__ == "__main__":
    main()

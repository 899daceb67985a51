#!/usr/bin/env python3
"""Run models in stock onnxruntime.

    models.py FOLDER

Each NAME.onnx of the folder is run on the arrays of NAME.npz; NAME.out.npz gets its outputs. Prints a JSON object of the
models that do not run, with the reason.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime as ort


def run(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    outs = session.run(names, dict(np.load(path.with_suffix(".npz"))))
    np.savez(path.with_suffix(".out.npz"), **dict(zip(names, outs)))


def main():
    failed = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
        try:
            run(path)
        except Exception as e:  # onnxruntime's errors have no common base
            failed[path.stem] = str(e)[:1000]
    print(json.dumps(failed))


if __name__ == "__main__":
    main()

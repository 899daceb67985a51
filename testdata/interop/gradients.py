#!/usr/bin/env python3
"""Gradients of a model, by asdlc and by PyTorch's autograd, in float64.

    gradients.py --asdlc BINARY MODEL.onnx ...

Each model is rebuilt from its file in PyTorch (onnx_torch.py). A shift is added to each floating-point input, so that the
gradient of the shift is that of the input; dropout in training mode becomes a product with a mask that is an input. The
inputs are those of NAME_testdata.npz beside the model where that exists, else random. For the mean cross-entropy and the
mean squared error on random targets, the gradients of all parameters in the gradient graph of asdlc (instrument --emit
gradient --outputs grad) must be those of PyTorch. Prints a JSON object a line: model, loss, count (of gradients compared),
error (the worst difference over the largest entry of a gradient tensor), at (the gradient it is of), loss_error, and
missing (parameters with a gradient that asdlc does not have).
Exit code 77: PyTorch is not installed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

try:
    import torch
except ImportError:
    print("PyTorch is not installed")
    sys.exit(77)
from onnx_torch import Model, tensor
from torch.nn import functional as F

LOSSES = {"cross-entropy": F.cross_entropy, "mse": F.mse_loss}


def fresh_inputs(model, path, rng):
    """Arrays for the inputs of the model."""
    data = path.with_name(path.name.split("_op")[0] + "_testdata.npz")
    known = np.load(data) if data.exists() else {}
    kept = {t.name for t in model.graph.initializer}
    feeds = {}
    for v in model.graph.input:
        if v.name in kept:
            continue
        kind = v.type.tensor_type
        shape = [d.dim_value or 3 for d in kind.shape.dim]
        if "in_" + v.name in known:
            feeds[v.name] = known["in_" + v.name]
        elif kind.elem_type == TensorProto.FLOAT:
            feeds[v.name] = rng.standard_normal(shape, np.float32)
        else:
            feeds[v.name] = rng.integers(0, 8, shape)
    return feeds


def add_shifts(model, feeds, rng):
    """Adds a parameter to each floating-point input."""
    for name, x in feeds.items():
        if x.dtype != np.float32:
            continue
        shifted = name + "/shifted"
        for node in model.graph.node:
            node.input[:] = [shifted if i == name else i for i in node.input]
        model.graph.initializer.append(numpy_helper.from_array(0.1 * rng.standard_normal(x.shape, np.float32), name + "/shift"))
        model.graph.node.insert(0, helper.make_node("Add", [name, name + "/shift"], [shifted]))
        for v in model.graph.input:
            if v.name == name:  # the shift fixes the batch
                v.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape))


def fix_masks(model, feeds, rng):
    """Replaces dropout in training mode by products with masks, in the order of the nodes."""
    for node in model.graph.node:
        if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
            continue
        constants = Model(model)({}, dict.fromkeys([o for n in model.graph.node for o in n.output if n.op_type != "Constant"]))
        if not bool(constants[node.input[2]]):
            continue
        ratio = float(constants[node.input[1]]) if node.input[1] else 0.5
        # the shape of the mask is that of the input, which is computed with the dropouts before it fixed
        shape = until(model, node, feeds)[node.input[0]].shape
        mask, name = (rng.random(shape) >= ratio) / (1 - ratio), node.output[0] + "/mask"
        feeds[name] = mask.astype(np.float32)
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        del node.output[1:], node.attribute[:], node.input[1:]
        node.op_type = "Mul"
        node.input.append(name)


def until(model, node, feeds):
    """The values of the graph before the node."""
    m = Model(model)
    values = {"": None} | m.initializers | {k: tensor(v) for k, v in feeds.items()}
    before = []
    for n in model.graph.node:
        if n is node or n.output[0] == node.output[0]:
            break
        before.append(n)
    with torch.no_grad():
        m.run(before, values, {}, {})
    return values


def gradient_graph(binary, model, loss, folder):
    """The file of asdlc's gradient graph, and the dimensions of its target."""
    file, step = str(folder / "model.onnx"), str(folder / "step.onnx")
    onnx.save(model, file)
    compiled = [binary, "instrument", file, "-m", "sgd", "--emit", "gradient", "--outputs", "grad", "--tie", "none", "--loss", loss]
    subprocess.run([*compiled, "-f", "-o", step], check=True, stdout=subprocess.DEVNULL)
    return step, next(v for v in onnx.load(step).graph.input if v.name == "target").type.tensor_type.shape.dim


def by_asdlc(binary, step, feeds, folder):
    """The outputs of a step graph in float64."""
    fed, out = str(folder / "feeds.npz"), str(folder / "out.npz")
    np.savez(fed, **feeds)
    run = [binary, "run", step, "--feeds", fed, "--dtype", "float64", "-f", "-o", out]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    return dict(np.load(out))


def names_in_file(binary, model, names, folder):
    """The value of the model that each parameter is: that of its name, or for those that asdlc gave a name the one that
    asdlc inspect tells, or else the initializer without a name that is left."""
    told = subprocess.run([binary, "inspect", str(folder / "model.onnx"), "--json"], check=True, capture_output=True).stdout
    files = {p["name"]: p["file"] for p in json.loads(told)["parameters"] if "file" in p}
    known = {t.name for t in model.graph.initializer} | {o for n in model.graph.node for o in n.output}
    found = {n: n if n in known else files.get(n) for n in names}
    left = [t.name for t in model.graph.initializer if t.name not in found.values() and t.name.startswith("onnx::")]
    return {n: f or left.pop() for n, f in found.items()}


def by_torch(model, feeds, loss, axis, names):
    """The loss and its gradients with respect to the values of these names, and to all floating-point initializers."""
    m = Model(model)
    with torch.no_grad():
        values = m({k: tensor(v) for k, v in feeds.items()})
    leaves = {n: values[n].clone().requires_grad_() for n in names}
    for name, t in m.initializers.items():
        if t.is_floating_point() and name not in leaves:
            leaves[name] = t.clone().requires_grad_()
    y = m({k: tensor(v) for k, v in feeds.items()}, leaves)[model.graph.output[0].name]
    value = LOSSES[loss](y.movedim(axis, 1), tensor(feeds["target"]))
    grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return value.item(), {n: np.zeros(0) if g is None else g.numpy() for n, g in zip(leaves, grads)}


def random_target(model, feeds, loss, dims, rng):
    """A target, and the axis of the classes: the last one if that leaves the shape of the target, else the second."""
    with torch.no_grad():
        shape = Model(model)({k: tensor(v) for k, v in feeds.items()})[model.graph.output[0].name].shape
    if loss == "mse":
        return rng.standard_normal(shape, np.float32), 1
    fits = all(d.dim_value in (0, n) for d, n in zip(dims, shape[:-1]))
    axis = len(shape) - 1 if fits else 1
    return rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :]), axis


def compare(binary, path, loss, folder):
    rng = np.random.default_rng(7)
    model = onnx.load(path)
    feeds = fresh_inputs(model, path, rng)
    add_shifts(model, feeds, rng)
    fix_masks(model, feeds, rng)
    step, dims = gradient_graph(binary, model, loss, folder)
    feeds["target"], axis = random_target(model, feeds, loss, dims, rng)
    got = by_asdlc(binary, step, feeds, folder)
    names = names_in_file(binary, model, [k.removeprefix("grad/") for k in got if k.startswith("grad/")], folder)
    got |= {"grad/" + f: got["grad/" + n] for n, f in names.items()}
    names = list(names.values())
    value, want = by_torch(model, feeds, loss, axis, names)
    largest = max(np.abs(g).max(initial=0) for g in want.values())
    worst, at = 0.0, ""
    for n in names:
        # a gradient that is zero in exact arithmetic is rounding noise: it is measured by the other gradients
        scale = max(np.abs(want[n]).max(initial=0), 1e-9 * largest)
        error = np.abs(got["grad/" + n] - want[n]).max() / scale if got["grad/" + n].shape == want[n].shape else np.inf
        if not error <= worst:
            worst, at = float(error), n
    missing = [n for n, g in want.items() if n not in names and g.size > 1 and np.abs(g).max() > 1e-9 * largest]
    return {"model": path.name, "loss": loss, "count": len(names), "error": worst, "at": at, "loss_error": abs(float(got["loss"]) - value) / abs(value), "missing": missing}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asdlc", required=True, help="the asdlc program")
    parser.add_argument("--loss", choices=LOSSES, help="this loss only")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for path in args.models:
            for loss in [args.loss] if args.loss else LOSSES:
                print(json.dumps(compare(args.asdlc, path, loss, pathlib.Path(folder))), flush=True)


if __name__ == "__main__":
    main()

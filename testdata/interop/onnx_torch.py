"""ONNX models in PyTorch: each operator as a torch function that autograd differentiates, in float64."""

import math

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional as F


def tensor(array):
    """An array as a tensor; floating-point numbers become float64."""
    t = torch.from_numpy(np.array(array))
    return t.double() if t.is_floating_point() else t


def ints(v):
    return [int(n) for n in v.reshape(-1).tolist()]


def pads(a, spatial):
    """ONNX pads [begins, ends] as F.pad takes them: last axis first."""
    p = a.get("pads", [0] * (2 * spatial))
    return [n for i in reversed(range(spatial)) for n in (p[i], p[i + spatial])]


def pooled(x, a, pool, fill, **more):
    n = len(a["kernel_shape"])
    assert not a.get("ceil_mode") and "auto_pad" not in a
    f = getattr(F, f"{pool}_pool{n}d")
    return f(F.pad(x, pads(a, n), value=fill), a["kernel_shape"], a.get("strides", [1] * n), **more)


def conv(a, x, w, b=None):
    n = w.dim() - 2
    assert a.get("auto_pad", "NOTSET") == "NOTSET"
    f = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    return f(F.pad(x, pads(a, n)), w, b, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def conv_transpose(a, x, w, b=None):
    n = w.dim() - 2
    p = a.get("pads", [0] * (2 * n))
    assert p[:n] == p[n:] and "output_shape" not in a
    f = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
    return f(x, w, b, a.get("strides", 1), p[:n], a.get("output_padding", 0), a.get("group", 1), a.get("dilations", 1))


def batch_norm(a, x, scale, bias, mean, var):
    training = bool(a.get("training_mode", a["outputs"] > 1))  # until opset 13 the outputs tell
    y = F.batch_norm(x, mean.detach().clone(), var.detach().clone(), scale, bias, training, 0.0, a.get("epsilon", 1e-5))
    if not training:
        return y
    axes = [i for i in range(x.dim()) if i != 1]
    m = a.get("momentum", 0.9)
    return y, m * mean + (1 - m) * x.mean(axes), m * var + (1 - m) * x.var(axes, unbiased=False)


def gemm(a, x, y, c=None):
    x, y = x.T if a.get("transA") else x, y.T if a.get("transB") else y
    z = a.get("alpha", 1.0) * (x @ y)
    return z if c is None else z + a.get("beta", 1.0) * c


def gather(a, x, i):
    axis = a.get("axis", 0) % x.dim()
    i = torch.where(i < 0, i + x.shape[axis], i)
    return x.index_select(axis, i.reshape(-1)).reshape(x.shape[:axis] + i.shape + x.shape[axis + 1 :])


def sliced(a, x, starts, ends, axes=None, steps=None):
    axes = range(len(ints(starts))) if axes is None else ints(axes)
    for k, (start, end, axis) in enumerate(zip(ints(starts), ints(ends), axes)):
        step = 1 if steps is None else ints(steps)[k]
        picked = range(x.shape[axis])[start:end:step] if step > 0 or end > -(2**31) else range(x.shape[axis])[start::step]
        x = x.index_select(axis % x.dim(), torch.tensor(list(picked), dtype=torch.int64))
    return x


def reshape(a, x, shape):
    return x.reshape([x.shape[i] if n == 0 and not a.get("allowzero") else n for i, n in enumerate(ints(shape))])


def unsqueeze(a, x, axes=None):
    axes = a["axes"] if axes is None else ints(axes)
    for axis in sorted(n % (x.dim() + len(axes)) for n in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(a, x, axes=None):
    axes = a.get("axes") if axes is None else ints(axes)
    return x.squeeze() if axes is None else x.squeeze(tuple(n % x.dim() for n in axes))


def split(a, x, sizes=None):
    sizes = a.get("split") if sizes is None else ints(sizes)
    axis = a.get("axis", 0)
    return x.split(sizes, axis) if sizes else x.chunk(a.get("num_outputs") or a["outputs"], axis)


def expand(a, x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape)))


def reduced(f):
    def reduce(a, x, axes=None):
        axes = a.get("axes") if axes is None else ints(axes)
        return f(x, list(range(x.dim())) if not axes else axes, keepdim=bool(a.get("keepdims", 1)))

    return reduce


def softmax(f):
    return lambda a, x: f(x, a.get("axis", -1))


def layer_norm(a, x, scale, bias=None):
    return F.layer_norm(x, x.shape[a.get("axis", -1) % x.dim() :], scale, bias, a.get("epsilon", 1e-5))


def resize(a, x, roi=None, scales=None, sizes=None):
    mode = {"nearest": "nearest", "linear": ["linear", "bilinear", "trilinear"][x.dim() - 3], "cubic": "bicubic"}[a.get("mode", "nearest")]
    where = a.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        assert (where, a.get("nearest_mode")) == ("asymmetric", "floor")
    corners = None if mode == "nearest" else where == "align_corners"
    assert mode == "nearest" or where in ("align_corners", "half_pixel", "pytorch_half_pixel")
    if sizes is not None:
        return F.interpolate(x, ints(sizes)[2:], mode=mode, align_corners=corners)
    return F.interpolate(x, scale_factor=scales.tolist()[2:], mode=mode, align_corners=corners)


def lstm(a, x, w, r, b=None, lengths=None, h=None, c=None, p=None):
    """Gates in the order i, o, f, c."""
    assert lengths is None and p is None and not a.get("layout") and "activations" not in a and "clip" not in a
    n, ways = a["hidden_size"], w.shape[0]
    ys, hs, cs = [], [], []
    for d in range(ways):
        backward = d == 1 or a.get("direction") == "reverse"
        state = [x.new_zeros(x.shape[1], n) if s is None else s[d] for s in (h, c)]
        bias = 0 if b is None else b[d, : 4 * n] + b[d, 4 * n :]
        steps = [None] * len(x)
        for t in reversed(range(len(x))) if backward else range(len(x)):
            i, o, f, g = (x[t] @ w[d].T + state[0] @ r[d].T + bias).split(n, 1)
            cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
            state = [torch.sigmoid(o) * torch.tanh(cell), cell]
            steps[t] = state[0]
        ys.append(torch.stack(steps))
        hs.append(state[0])
        cs.append(state[1])
    return torch.stack(ys, 1), torch.stack(hs), torch.stack(cs)


def cast(a, x):
    np_type = onnx.helper.tensor_dtype_to_np_dtype(a["to"])
    return x.double() if np.issubdtype(np_type, np.floating) else x.to(tensor(np.zeros(0, np_type)).dtype)


def constant(a):
    if "value" in a:
        return tensor(numpy_helper.to_array(a["value"]))
    key = next(k for k in ("value_int", "value_ints", "value_float", "value_floats") if k in a)
    return torch.tensor(a[key], dtype=torch.int64 if "int" in key else torch.float64)


def constant_of_shape(a, shape):
    value = tensor(numpy_helper.to_array(a["value"])) if "value" in a else torch.zeros(1, dtype=torch.float64)
    return value.expand(ints(shape)).clone()


def div(a, x, y):
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def dropout(a, x, ratio=None, training=None):
    assert training is None or not bool(training) or float(ratio) == 0, "fix the masks of the model first"
    return x, torch.ones_like(x, dtype=torch.bool)


def unary(f):
    return lambda a, x: f(x)


def binary(f):
    return lambda a, x, y: f(x, y)


# Operators by name: (attributes, inputs...) to an output, or to a tuple of them.
OPERATORS = {
    "Add": binary(torch.add), "Sub": binary(torch.sub), "Mul": binary(torch.mul), "Div": div, "Pow": binary(torch.pow),
    "Sqrt": unary(torch.sqrt), "Exp": unary(torch.exp), "Log": unary(torch.log), "Neg": unary(torch.neg), "Abs": unary(torch.abs),
    "Erf": unary(torch.erf), "Tanh": unary(torch.tanh), "Sigmoid": unary(torch.sigmoid), "Relu": unary(torch.relu),
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Equal": binary(torch.eq), "Less": binary(torch.lt), "Greater": binary(torch.gt), "And": binary(torch.logical_and), "Not": unary(torch.logical_not),
    "Where": lambda a, c, x, y: torch.where(c, x, y),
    "MatMul": binary(torch.matmul), "Gemm": gemm, "Conv": conv, "ConvTranspose": conv_transpose,
    "MaxPool": lambda a, x: pooled(x, a, "max", -math.inf, dilation=a.get("dilations", 1)),
    "AveragePool": lambda a, x: pooled(x, a, "avg", 0.0),
    "GlobalAveragePool": lambda a, x: x.mean(list(range(2, x.dim())), keepdim=True),
    "BatchNormalization": batch_norm, "LayerNormalization": layer_norm,
    "Softmax": softmax(torch.softmax), "LogSoftmax": softmax(torch.log_softmax), "Dropout": dropout,
    "LSTM": lstm, "Resize": resize,
    "ReduceMean": reduced(torch.mean), "ReduceSum": reduced(torch.sum),
    "Identity": unary(lambda x: x), "Cast": cast, "Constant": constant, "ConstantOfShape": constant_of_shape,
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0) : a.get("end")], dtype=torch.int64),
    "Range": lambda a, start, end, step: torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype),
    "Flatten": lambda a, x: x.reshape(math.prod(x.shape[: a.get("axis", 1)]), -1),
    "Reshape": reshape, "Transpose": lambda a, x: x.permute(a.get("perm") or list(reversed(range(x.dim())))),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]), "Split": split, "Slice": sliced, "Gather": gather,
    "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Expand": expand,
}  # fmt: skip


def attributes(node, of_function):
    """The attributes of a node; those that refer to attributes of the function take their values."""
    found = {}
    for a in node.attribute:
        if not a.ref_attr_name:
            found[a.name] = onnx.helper.get_attribute_value(a)
        elif a.ref_attr_name in of_function:
            found[a.name] = of_function[a.ref_attr_name]
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


class Model:
    """A model that can be run on tensors. Leaves are values, by name, that are taken from a table and not computed."""

    def __init__(self, model):
        self.graph = model.graph
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.initializers = {t.name: tensor(numpy_helper.to_array(t)) for t in model.graph.initializer}

    def __call__(self, feeds, leaves=None):
        """All values of the main graph by name."""
        values = {"": None} | self.initializers | feeds | (leaves or {})
        self.run(self.graph.node, values, {}, leaves or {})
        return values

    def run(self, nodes, values, of_function, leaves):
        for node in nodes:
            if any(o in leaves for o in node.output):
                continue
            a, xs = attributes(node, of_function), [values[i] for i in node.input]
            f = self.functions.get((node.domain, node.op_type))
            if f is not None:
                inner = {"": None} | dict(zip(f.input, xs))
                self.run(f.node, inner, a, {})
                ys = tuple(inner[o] for o in f.output)
            else:
                a["outputs"] = len(node.output)
                ys = OPERATORS[node.op_type](a, *xs)
            values.update(zip(node.output, ys if isinstance(ys, (tuple, list)) else (ys,)))

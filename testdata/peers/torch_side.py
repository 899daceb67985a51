#!/usr/bin/env python3
"""PyTorch's side: stochastic gradient descent, or a method of ASDL, on a network of testdata/interop/zoo.py.

    torch_side.py '{"network": "mlp", "options": {...}, "shape": [784], "classes": 10, "batch": 32, "method": "sgd", "every": 1, "threads": 1}'
"""

import collections
import contextlib
import json
import pathlib
import sys
import warnings

import torch

import side

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
import zoo

RATE = 1e-7  # so small that nothing converges while it is timed


def asdl_makers():
    """ASDL's makers of preconditioned gradients by method, with the damping and the moving average of its published settings."""

    @contextlib.contextmanager
    def no_range(*args, **kwargs):
        yield

    torch.cuda.nvtx.range = no_range  # ASDL marks its stages for a profiler that PyTorch for the CPU does not have
    torch.cuda.nvtx.range_push = torch.cuda.nvtx.range_pop = lambda *args, **kwargs: None
    import asdl

    return asdl, {
        "kfac": (asdl.KfacGradientMaker, 1e-3, -1),  # one sampled label an example is its default
        "shampoo": (asdl.ShampooGradientMaker, 1e-12, -1),
        "psgd-kf": (asdl.KronPsgdGradientMaker, 1e-3, -1),
        "k-bfgs": (asdl.KronBfgsGradientMaker, 1.0, 0.1),
        "seng": (asdl.SengGradientMaker, 1.0, -1),
    }


def gradient_maker(model, case):
    asdl, makers = asdl_makers()
    make, damping, decay = makers[case["method"]]
    nn = torch.nn
    config = asdl.PreconditioningConfig(
        data_size=case["batch"],
        damping=damping,
        ema_decay=decay,
        curvature_upd_interval=case["every"],
        preconditioner_upd_interval=case["every"],
        ignore_modules=[nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm],
    )
    return make(model, config)


def wake():
    """Has PyTorch load what it loads on the first step of any training, which is no memory of this one."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    model(torch.zeros(1, 1)).sum().backward()
    optimizer.step()


def main():
    warnings.filterwarnings("ignore")
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    if case["method"] != "sgd":
        asdl_makers()
    wake()
    idle = side.resident("VmHWM")
    torch.manual_seed(0)
    options = collections.namedtuple("Options", case["options"])(**case["options"])
    model = zoo.NETWORKS[case["network"]](options).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    x, target = torch.randn(case["batch"], *case["shape"]), torch.randint(case["classes"], (case["batch"],))
    cross_entropy = torch.nn.functional.cross_entropy

    def sgd():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    maker = None if case["method"] == "sgd" else gradient_maker(model, case)

    def preconditioned():
        optimizer.zero_grad()
        maker.setup_loss_call(cross_entropy, maker.setup_model_call(model, x), target)
        _, loss = maker.forward_and_backward()
        optimizer.step()
        return loss.detach()

    kernels = contextlib.nullcontext()
    if case["method"] == "psgd-kf":  # the fused kernel of attention has no second derivative
        kernels = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with kernels:
        side.serve(
            preconditioned if maker else sgd,
            case["every"],
            idle,
            threads=case["threads"],
            parameters=sum(p.numel() for p in model.parameters()),
        )


if __name__ == "__main__":
    main()

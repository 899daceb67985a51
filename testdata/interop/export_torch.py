"""Export small networks with both of PyTorch's exporters.

    python export_torch.py FOLDER [NETWORK...]

(NETWORK or NETWORK.FORM) writes FOLDER/NETWORK.FORM.onnx for every form, NETWORK.FORM.npz (input x, and the output y that PyTorch
computed in evaluation mode), and prints what an exporter refused. The forms are legacy11, legacy13 and legacy17 in evaluation mode,
legacy17train in training mode, dynamo18 and dynamo20 (evaluation mode is the only one that dynamo has). Needs torch,
onnxscript and numpy; torchvision adds its networks.
"""

import math
import pathlib
import sys
import warnings

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")


class ResNetBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.n2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.short = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        return F.relu(self.n2(self.c2(F.relu(self.n1(self.c1(x))))) + self.short(x))


class PreActBlock(nn.Module):
    """Normalisation before the convolution, which no exporter can fold."""

    def __init__(self, i, o):
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(i), nn.Conv2d(i, o, 3, 1, 1, bias=False)

    def forward(self, x):
        return self.c1(F.relu(self.n1(x)))


class Attention(nn.Module):
    """Attention written out, or by scaled_dot_product_attention; the scale as mul, div or on both operands."""

    def __init__(self, dim, heads, form, causal=False):
        super().__init__()
        self.heads, self.form, self.causal = heads, form, causal
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if causal:
            self.register_buffer("mask", torch.tril(torch.ones(1, 1, 32, 32, dtype=torch.bool)))

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        e = d // self.heads
        if self.form == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            if self.form == "mul":
                s = (q * e**-0.5) @ k.transpose(-2, -1)
            elif self.form == "both":
                s = (q * e**-0.25) @ (k * e**-0.25).transpose(-2, -1)
            else:
                s = q @ k.transpose(-2, -1) / math.sqrt(e)
            if self.causal:
                s = s.masked_fill(~self.mask[:, :, :n, :n], float("-inf"))
            y = s.softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, dim, heads, form, act, causal=False):
        super().__init__()
        self.n1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, form, causal)
        self.n2 = nn.LayerNorm(dim)
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 2 * dim), act, nn.Linear(2 * dim, dim)

    def forward(self, x):
        x = x + self.attn(self.n1(x))
        return x + self.fc2(self.act(self.fc1(self.n2(x))))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 16) * 0.1), nn.Parameter(torch.randn(1, 5, 16) * 0.1)
        self.blocks = nn.Sequential(Block(16, 2, "mul", nn.GELU()), Block(16, 2, "sdpa", nn.GELU()))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(24, 16), nn.Embedding(32, 16)
        self.blocks = nn.Sequential(Block(16, 2, "div", nn.GELU("tanh"), True), Block(16, 2, "sdpa", nn.GELU("tanh"), True))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 24, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, ids):
        at = torch.arange(ids.shape[1], device=ids.device)
        return self.head(self.norm(self.blocks(self.wte(ids) + self.wpe(at))))


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Llama(nn.Module):
    """RMSNorm, rotary positions, SiLU gate."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(24, 16)
        self.n1, self.n2, self.norm = RMSNorm(16), RMSNorm(16), RMSNorm(16)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(16, 32, bias=False), nn.Linear(16, 32, bias=False), nn.Linear(32, 16, bias=False)
        self.head = nn.Linear(16, 24, bias=False)
        self.register_buffer("freq", 1.0 / 100 ** (torch.arange(0, 8, 2).float() / 8))

    def rotate(self, x):
        a = torch.outer(torch.arange(x.shape[2], device=x.device).float(), self.freq)
        a = torch.cat([a, a], -1)
        h = torch.cat([-x[..., 4:], x[..., :4]], -1)
        return x * a.cos() + h * a.sin()

    def forward(self, ids):
        x = self.wte(ids)
        b, n, d = x.shape
        h = self.n1(x)
        q, k, v = (f(h).view(b, n, 2, 8).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, n, d))
        h = self.n2(x)
        return self.head(self.norm(x + self.down(F.silu(self.gate(h)) * self.up(h))))


class Recurrent(nn.Module):
    def __init__(self, cell, bidirectional):
        super().__init__()
        self.emb = nn.Embedding(16, 8)
        self.cell = cell(8, 12, 1 if bidirectional else 2, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(24 if bidirectional else 12, 4)

    def forward(self, ids):
        return self.fc(self.cell(self.emb(ids))[0][:, -1])


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        def two(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.d1, self.d2, self.mid = two(3, 8), two(8, 12), two(12, 16)
        self.u2, self.e2 = nn.ConvTranspose2d(16, 12, 2, 2), two(24, 12)
        self.e1, self.out = two(20, 8), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.u2(self.mid(F.max_pool2d(b, 2)))
        b = self.e2(torch.cat([b, c], 1))
        return self.out(self.e1(torch.cat([a, F.interpolate(b, scale_factor=2, mode="nearest")], 1)))


class InvertedResidual(nn.Module):
    def __init__(self, dim, act):
        super().__init__()
        self.expand, self.n1 = nn.Conv2d(dim, 2 * dim, 1, bias=False), nn.BatchNorm2d(2 * dim)
        self.depth, self.n2 = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1, groups=2 * dim, bias=False), nn.BatchNorm2d(2 * dim)
        self.pool, self.s1, self.s2 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * dim, 4, 1), nn.Conv2d(4, 2 * dim, 1)
        self.point, self.n3 = nn.Conv2d(2 * dim, dim, 1, bias=False), nn.BatchNorm2d(dim)
        self.act = act

    def forward(self, x):
        h = self.act(self.n2(self.depth(self.act(self.n1(self.expand(x))))))
        h = h * F.hardsigmoid(self.s2(F.silu(self.s1(self.pool(h)))))
        return x + self.n3(self.point(h))


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.blocks = nn.Sequential(InvertedResidual(8, nn.ReLU6()), InvertedResidual(8, nn.Hardswish()), InvertedResidual(8, nn.SiLU()))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dw, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.scale = nn.Parameter(torch.rand(dim) * 0.1)

    def forward(self, x):
        h = self.dw(x).permute(0, 2, 3, 1)
        h = self.scale * self.fc2(F.gelu(self.fc1(self.norm(h))))
        return x + h.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 4, 4), nn.Sequential(ConvNeXtBlock(8), ConvNeXtBlock(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean((2, 3))))


class WindowAttention(nn.Module):
    """Swin's: padding to whole windows, a cyclic shift, a mask computed from the padded size, a table of relative positions."""

    def __init__(self, dim, heads, window, shift):
        super().__init__()
        self.dim, self.heads, self.window, self.shift = dim, heads, window, shift
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.1)
        c = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        r = (c[:, :, None] - c[:, None, :] + window - 1).permute(1, 2, 0)
        self.register_buffer("index", r[..., 0] * (2 * window - 1) + r[..., 1])

    def forward(self, x):
        b, h, w, c = x.shape
        s, t = self.window, self.shift
        x = F.pad(x, (0, 0, 0, (s - w % s) % s, 0, (s - h % s) % s))
        ph, pw = x.shape[1], x.shape[2]
        if t:
            x = torch.roll(x, (-t, -t), (1, 2))
        n = (ph // s) * (pw // s)
        x = x.view(b, ph // s, s, pw // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b * n, s * s, c)
        q, k, v = self.qkv(x).reshape(b * n, s * s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
        a = a + self.table[self.index.view(-1)].view(s * s, s * s, -1).permute(2, 0, 1).unsqueeze(0)
        if t:
            m = x.new_zeros((ph, pw))
            count = 0
            for i in ((0, -s), (-s, -t), (-t, None)):
                for j in ((0, -s), (-s, -t), (-t, None)):
                    m[i[0] : i[1], j[0] : j[1]] = count
                    count += 1
            m = m.view(ph // s, s, pw // s, s).permute(0, 2, 1, 3).reshape(n, s * s)
            m = m.unsqueeze(1) - m.unsqueeze(2)
            m = m.masked_fill(m != 0, -100.0).masked_fill(m == 0, 0.0)
            a = (a.view(b, n, self.heads, s * s, s * s) + m.unsqueeze(1).unsqueeze(0)).view(-1, self.heads, s * s, s * s)
        x = self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(b * n, s * s, c))
        x = x.view(b, ph // s, pw // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, ph, pw, c)
        if t:
            x = torch.roll(x, (t, t), (1, 2))
        return x[:, :h, :w, :]


class Swin(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.n0 = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8)
        self.n1, self.a1 = nn.LayerNorm(8), WindowAttention(8, 2, 3, 0)
        self.n2, self.a2 = nn.LayerNorm(8), WindowAttention(8, 2, 3, 1)
        self.merge, self.norm, self.head = nn.Linear(32, 12, bias=False), nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x):
        x = self.n0(self.patch(x).permute(0, 2, 3, 1))
        x = x + self.a1(self.n1(x))
        x = x + self.a2(self.n2(x))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.norm(self.merge(x)).mean((1, 2)))


class MHA(nn.Module):
    """nn.MultiheadAttention with separate queries, which slices its packed weight."""

    def __init__(self):
        super().__init__()
        self.attn, self.fc = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 4)
        self.query = nn.Parameter(torch.randn(1, 3, 16))

    def forward(self, x):
        return self.fc(self.attn(self.query.expand(x.shape[0], -1, -1), x, x, need_weights=False)[0].mean(1))


class Activations(nn.Module):
    """The activations and their spellings; the last layer gives logarithms of probabilities."""

    def __init__(self):
        super().__init__()
        self.f = nn.ModuleList(nn.Linear(8, 8) for _ in range(9))
        self.norm = nn.GroupNorm(2, 8)
        self.alpha = nn.PReLU()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        acts = [F.gelu, lambda x: F.gelu(x, approximate="tanh"), F.silu, F.hardswish, F.mish, F.elu, F.softplus, self.alpha,
                lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2.0)))]
        for f, act in zip(self.f, acts):
            x = x + act(f(x))
        return F.log_softmax(self.norm(x) * self.scale, -1)


def image(n):
    return torch.randn(n, 3, 8, 8)


def sequence(n):
    return torch.randn(n, 5, 16)


def tokens(n):
    return torch.randint(0, 16, (n, 6))


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4)), lambda n: torch.randn(n, 3, 4)),
    "cnn_bn": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1), nn.Conv2d(8, 8, 3),
                                     nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)), image),
    "resnet": (lambda: nn.Sequential(ResNetBlock(3, 8, 1), ResNetBlock(8, 12, 2), PreActBlock(12, 8), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 4)), image),
    "vit": (ViT, image),
    "gpt": (GPT, tokens),
    "llama": (Llama, tokens),
    "encoder": (lambda: nn.Sequential(nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True), 2, enable_nested_tensor=False), nn.Linear(16, 4)), sequence),
    "mha": (MHA, sequence),
    "lstm": (lambda: Recurrent(nn.LSTM, False), tokens),
    "gru": (lambda: Recurrent(nn.GRU, True), tokens),
    "unet": (UNet, image),
    "mobilenet": (MobileNet, image),
    "convnext": (ConvNeXt, lambda n: torch.randn(n, 3, 16, 16)),
    "swin": (Swin, lambda n: torch.randn(n, 3, 16, 16)),
    "activations": (Activations, lambda n: torch.randn(n, 8)),
}

FORMS = {"legacy11": (False, 11, False), "legacy13": (False, 13, False), "legacy17": (False, 17, False), "legacy17train": (False, 17, True),
         "dynamo18": (True, 18, False), "dynamo20": (True, 20, False)}


def perturb(net):
    """Moves running statistics and fresh scales off their initial values, so that what is folded or merged can be told apart."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.2, 0.2)
            m.running_var.uniform_(0.5, 1.5)


def strip(path):
    """Leaves of the metadata of nodes what tells their modules: the rest has paths of the machine."""
    m = onnx.load(path)
    del m.graph.metadata_props[:], m.metadata_props[:]
    for n in m.graph.node:
        keep = [p for p in n.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        del n.metadata_props[:]
        n.metadata_props.extend(keep)
    for v in [*m.graph.value_info, *m.graph.input, *m.graph.output, *m.graph.initializer]:
        del v.metadata_props[:]
    del m.graph.value_info[:]
    onnx.save(m, path)


def export(net, x, path, dynamo, opset, train):
    mode = torch.onnx.TrainingMode.TRAINING if train else torch.onnx.TrainingMode.EVAL
    net.train(train)
    if dynamo:
        program = torch.onnx.export(net, (x,), dynamo=True, opset_version=opset, input_names=["x"], output_names=["y"],
                                    dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=1024)},), verbose=False)
        program.save(path)
        strip(path)
    else:
        torch.onnx.export(net, (x,), path, dynamo=False, opset_version=opset, input_names=["x"], output_names=["y"], training=mode,
                          do_constant_folding=not train, dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in sys.argv[2:] or NETWORKS:
        name, _, only = name.partition(".")
        build, data = NETWORKS[name]
        for form, (dynamo, opset, train) in FORMS.items():
            if only not in ("", form):
                continue
            torch.manual_seed(1)
            net, x = build(), data(3)
            with torch.no_grad():
                perturb(net)
            try:
                export(net, x, str(folder / f"{name}.{form}.onnx"), dynamo, opset, train)
            except Exception as e:  # the exporter's own limits
                failed += 1
                print(f"{name}.{form}: {type(e).__name__}: {str(e).splitlines()[0][:160]}", flush=True)
                continue
            with torch.no_grad():
                want = net.eval()(x)  # after the export, which moves running statistics in training mode
            np.savez(folder / f"{name}.{form}.npz", x=x.numpy(), y=want.numpy())
    print(f"{failed} exports refused by the exporter")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The reference networks as PyTorch modules, to check those of `asdlc new` against.

    zoo.py TASKS.json

TASKS.json is a list of {"name", "options", "model", "in", "out"}; options are all of them by name. Without a model the task
is to count parameters, which allocates none. With one, its initializers are loaded into the module, every one of them and
nothing else, and OUT.npz gets what PyTorch ("torch") and onnxruntime ("onnxruntime") make of the inputs IN.npz. Prints the
list of the numbers of parameters. Exit code 77: PyTorch is not installed.
"""

import collections
import json
import sys

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("PyTorch is not installed")
    sys.exit(77)


class MLP(nn.Sequential):
    def __init__(self, o):
        layers = collections.OrderedDict()
        for i, (a, b) in enumerate(zip(o.widths, o.widths[1:]), 1):
            if i > 1:
                layers[f"relu{i - 1}"] = nn.ReLU()
            layers[f"fc{i}"] = nn.Linear(a, b)
        super().__init__(layers)


class LeNet(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, o.classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def conv(a, b, size, stride=1):
    return nn.Conv2d(a, b, size, stride, size // 2, bias=False)


class Residual(nn.Module):
    def shortcut(self, a, b, stride):
        if a != b or stride != 1:
            self.downsample = nn.Sequential(conv(a, b, 1, stride), nn.BatchNorm2d(b))

    def add(self, x, y):
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Basic(Residual):
    factor = 1

    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(a, b, 3, stride), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = conv(b, b, 3), nn.BatchNorm2d(b)
        self.shortcut(a, b, stride)

    def forward(self, x):
        return self.add(x, self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Bottleneck(Residual):
    factor = 4

    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(a, b, 1), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = conv(b, b, 3, stride), nn.BatchNorm2d(b)
        self.conv3, self.bn3 = conv(b, 4 * b, 1), nn.BatchNorm2d(4 * b)
        self.shortcut(a, 4 * b, stride)

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.add(x, self.bn3(self.conv3(y)))


class ResNet(nn.Module):
    def __init__(self, o, block, counts):
        super().__init__()
        self.imagenet = o.imagenet
        self.conv1 = conv(3, o.width, 7, 2) if o.imagenet else conv(3, o.width, 3)
        self.bn1 = nn.BatchNorm2d(o.width)
        a = o.width
        for s, count in enumerate(counts):
            b = o.width << s
            blocks = [block(a if i == 0 else b * block.factor, b, 2 if s and not i else 1) for i in range(count)]
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))
            a = b * block.factor
        self.fc = nn.Linear(a, o.classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = F.max_pool2d(x, 3, 2, 1)
        for s in range(4):
            x = getattr(self, f"layer{s + 1}")(x)
        return self.fc(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(a), conv(a, b, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(b), conv(b, b, 3)
        if a != b:
            self.convShortcut = conv(a, b, 1, stride)

    def forward(self, x):
        y = F.relu(self.bn1(x))
        x = self.convShortcut(y) if hasattr(self, "convShortcut") else x
        return x + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.conv1, a = conv(3, 16, 3), 16
        for s in range(3):
            b = 16 * o.widen << s
            blocks = [WideBlock(a if i == 0 else b, b, 2 if s and not i else 1) for i in range((o.depth - 4) // 6)]
            stage = nn.Module()
            stage.layer = nn.Sequential(*blocks)
            setattr(self, f"block{s + 1}", stage)
            a = b
        self.bn1, self.fc = nn.BatchNorm2d(a), nn.Linear(a, o.classes)

    def forward(self, x):
        x = self.conv1(x)
        for s in range(3):
            x = getattr(self, f"block{s + 1}").layer(x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


def attend(q, k, v, heads, **mask):
    split = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(split(q), split(k), split(v), **mask).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Patches(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.proj = nn.Conv2d(3, o.width, o.patch, o.patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class ViTBlock(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.heads = o.heads
        self.norm1, self.norm2 = nn.LayerNorm(o.width, 1e-6), nn.LayerNorm(o.width, 1e-6)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(o.width, 3 * o.width), nn.Linear(o.width, o.width)
        self.mlp = FeedForward(o.width, 4 * o.width)

    def forward(self, x):
        x = x + self.attn.proj(attend(*self.attn.qkv(self.norm1(x)).chunk(3, -1), self.heads))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.patch_embed = Patches(o)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, o.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (o.image // o.patch) ** 2 + 1, o.width))
        self.blocks = nn.Sequential(*[ViTBlock(o) for _ in range(o.depth)])
        self.norm, self.head = nn.LayerNorm(o.width, 1e-6), nn.Linear(o.width, o.classes)

    def forward(self, x):
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(o.width, 1e-6), nn.LayerNorm(o.width, 1e-6)
        self.mlp_tokens = FeedForward((o.image // o.patch) ** 2, o.width // 2)
        self.mlp_channels = FeedForward(o.width, 4 * o.width)

    def forward(self, x):
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.stem = Patches(o)
        self.blocks = nn.Sequential(*[MixerBlock(o) for _ in range(o.depth)])
        self.norm, self.head = nn.LayerNorm(o.width, 1e-6), nn.Linear(o.width, o.classes)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x))).mean(1))


class GPTBlock(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.heads = o.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(o.width), nn.LayerNorm(o.width)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = nn.Linear(o.width, 3 * o.width), nn.Linear(o.width, o.width)
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(o.width, 4 * o.width), nn.Linear(4 * o.width, o.width)

    def forward(self, x):
        x = x + self.attn.c_proj(attend(*self.attn.c_attn(self.ln_1(x)).chunk(3, -1), self.heads, is_causal=True))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, o):
        super().__init__()
        t = self.transformer = nn.Module()
        t.wte, t.wpe = nn.Embedding(o.vocab, o.width), nn.Embedding(o.context, o.width)
        t.h, t.ln_f = nn.Sequential(*[GPTBlock(o) for _ in range(o.depth)]), nn.LayerNorm(o.width)

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe(torch.arange(ids.shape[1]))
        return F.linear(t.ln_f(t.h(x)), t.wte.weight)


def dense(a, b, norm=False):
    m = nn.Module()
    m.dense = nn.Linear(a, b)
    if norm:
        m.LayerNorm = nn.LayerNorm(b, 1e-12)
    return m


class BertLayer(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.heads, attention = o.heads, nn.Module()
        setattr(attention, "self", nn.ModuleDict({k: nn.Linear(o.width, o.width) for k in ("query", "key", "value")}))
        attention.output = dense(o.width, o.width, norm=True)
        self.attention, self.intermediate = attention, dense(o.width, 4 * o.width)
        self.output = dense(4 * o.width, o.width, norm=True)

    def forward(self, x, mask):
        parts = getattr(self.attention, "self")
        y = attend(parts["query"](x), parts["key"](x), parts["value"](x), self.heads, attn_mask=mask)
        x = self.attention.output.LayerNorm(x + self.attention.output.dense(y))
        y = self.output.dense(F.gelu(self.intermediate.dense(x)))
        return self.output.LayerNorm(x + y)


class BERT(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.bert, e = nn.Module(), nn.Module()
        e.word_embeddings, e.position_embeddings = nn.Embedding(o.vocab, o.width), nn.Embedding(o.context, o.width)
        e.token_type_embeddings, e.LayerNorm = nn.Embedding(2, o.width), nn.LayerNorm(o.width, 1e-12)
        self.bert.embeddings, self.bert.encoder = e, nn.Module()
        self.bert.encoder.layer = nn.ModuleList([BertLayer(o) for _ in range(o.depth)])
        self.bert.pooler, self.classifier = dense(o.width, o.width), nn.Linear(o.width, o.classes)

    def forward(self, input_ids, attention_mask, token_type_ids):
        e = self.bert.embeddings
        positions = e.position_embeddings(torch.arange(input_ids.shape[1]))
        x = e.LayerNorm(e.word_embeddings(input_ids) + e.token_type_embeddings(token_type_ids) + positions)
        for layer in self.bert.encoder.layer:
            x = layer(x, attention_mask[:, None, None, :].bool())
        return self.classifier(torch.tanh(self.bert.pooler.dense(x[:, 0])))


NETWORKS = {
    "mlp": MLP,
    "lenet": LeNet,
    "resnet18": lambda o: ResNet(o, Basic, [2, 2, 2, 2]),
    "resnet50": lambda o: ResNet(o, Bottleneck, [3, 4, 6, 3]),
    "wideresnet": WideResNet,
    "vit-tiny": ViT,
    "mixer-base": Mixer,
    "mixer-small": Mixer,
    "gpt2": GPT,
    "gpt-nano": GPT,
    "bert-tiny": BERT,
}


def run(module, model, inputs, out):
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import numpy_helper

    onnx.checker.check_model(model, full_check=True)
    weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(model).graph.initializer}
    wanted = {k for k in module.state_dict() if not k.endswith("num_batches_tracked")}
    if wanted != set(weights):
        sys.exit(f"{model}: initializers and parameters differ: {sorted(wanted ^ set(weights))}")
    module.load_state_dict(weights, strict=False)
    feeds = dict(np.load(inputs))
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    args = [torch.from_numpy(feeds[i.name]) for i in session.get_inputs()]
    with torch.no_grad():
        y = module.eval()(*args).numpy()
    np.savez(out, torch=y, onnxruntime=session.run(["logits"], feeds)[0])


def main():
    counts = []
    for task in json.load(open(sys.argv[1])):
        options = collections.namedtuple("Options", task["options"])(**task["options"])
        with torch.device("cpu" if task["model"] else "meta"):
            module = NETWORKS[task["name"]](options)
        counts.append(sum(p.numel() for p in module.parameters()))
        if task["model"]:
            run(module, task["model"], task["in"], task["out"])
    print(json.dumps(counts))


if __name__ == "__main__":
    main()

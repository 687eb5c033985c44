#!/usr/bin/env python3
"""The cross-entropy of a PyTorch model's logits, by xent and by PyTorch.

The script makes a small language model and writes its logits and the tokens to one file (or to two NumPy files). `xent eval
--json` computes the loss, and F.cross_entropy says what it must be. Needs torch, and safetensors or numpy:

    python3 -m venv .venv && .venv/bin/pip install torch numpy safetensors
    cargo install --path . --features cli
    .venv/bin/python examples/from_pytorch.py
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

BATCH, LENGTH, VOCABULARY, WIDTH, STEPS = 8, 64, 1_009, 96, 8


class Model(torch.nn.Module):
    """A very small language model: an embedding, a recurrent layer, a head."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.recurrent = torch.nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = torch.nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):  # (batch, length) -> (batch, length, vocabulary)
        return self.head(self.recurrent(self.embedding(tokens))[0])


def trained(tokens):
    """A model that knows these tokens a little: sure of some, wrong about others."""
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    return model


def save(folder, logits, targets, format):
    """Writes both, and returns the arguments of `xent eval`. These are the lines to copy into your own code."""
    if format == "safetensors":
        from safetensors.torch import save_file

        path = os.path.join(folder, "batch.safetensors")
        save_file({"logits": logits.contiguous(), "targets": targets.contiguous()}, path)
        return [path, "--targets-key", "targets"]
    import numpy

    paths = [os.path.join(folder, name) for name in ("logits.npy", "targets.npy")]
    numpy.save(paths[0], logits.float().numpy())  # NumPy has no bfloat16
    numpy.save(paths[1], targets.numpy())
    return [paths[0], "--targets", paths[1]]


def formats():
    """The formats that can be written here, the best first."""
    found = []
    for name, module in [("safetensors", "safetensors.torch"), ("npy", "numpy")]:
        try:
            __import__(module)
            found.append(name)
        except ImportError:
            pass
    return found


def evaluate(xent, arguments):
    command = [xent, "eval", *arguments, "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {result.returncode}")
    return json.loads(result.stdout)


def check(name, found, expected, bound):
    print(f"  {name:<12}{found:.6f}  PyTorch {expected:.6f}")
    if not math.isclose(found, expected, rel_tol=bound, abs_tol=bound):
        sys.exit(f"{name}: {found} is not {expected}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--xent", default="xent", help="the tool [default: the one on PATH]")
    parser.add_argument("--format", choices=["safetensors", "npy"], help="[default: the best that is installed]")
    arguments = parser.parse_args()
    there = formats()
    if not there or arguments.format not in (None, *there):
        sys.exit(f"from_pytorch: cannot write {arguments.format or 'any format'}: pip install safetensors numpy")

    torch.manual_seed(0)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH))
    model = trained(tokens)
    with torch.no_grad():
        logits = model(tokens).bfloat16()  # the type that large models return
    # The first sequence is cut short, as with padding.
    targets = tokens.clone()
    targets[0, LENGTH // 2 :] = -100

    with tempfile.TemporaryDirectory() as folder:
        files = save(folder, logits, targets, arguments.format or there[0])
        for name, first, smoothing, options in [
            ("next tokens", 0, 0.0, []),
            ("next tokens behind a prompt of 16", 16, 0.0, ["--score-from", "16"]),
            ("next tokens, label smoothing", 0, 0.1, ["--label-smoothing", "0.1"]),
        ]:
            print(name)
            report = evaluate(arguments.xent, [*files, "--shift", "1", *options])
            # The row of the prompt's last token predicts the first token behind it.
            scores = logits[:, max(first - 1, 0) : -1].flatten(0, 1).double()
            classes = targets[:, max(first, 1) :].flatten()
            expected = F.cross_entropy(scores, classes, label_smoothing=smoothing)
            check("loss", report["loss"], expected.item(), 1e-5)
            counted = classes != -100
            correct = (scores.argmax(-1) == classes)[counted].double().mean()
            check("accuracy", report["accuracy"], correct.item(), 1e-12)
            if report["counted"] != counted.sum().item():
                sys.exit(f"counted: {report['counted']} is not {counted.sum().item()}")
    print("the same")


if __name__ == "__main__":
    main()

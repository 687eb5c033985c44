"""PyTorch on the CPU, as a contestant of xent-peers: it answers the lines that src/serve.rs describes."""

import os
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"failed not installed ({error})", flush=True)
    sys.exit()


class Contestant:
    def __init__(self):
        self.loss = None
        self.output = None
        self.classes = None

    def load(self, folder, rows, cols):
        """Raw little-endian files: logits (rows, cols), targets (rows,), and the indices that values are asked at."""
        self.loss = self.output = self.classes = None

        def values(name, dtype):
            with open(os.path.join(folder, name), "rb") as file:
                return torch.frombuffer(bytearray(file.read()), dtype=dtype)

        self.logits = values("logits.f32", torch.float32).reshape(rows, cols)
        self.targets = values("targets.i32", torch.int32).long()
        self.probes = values("probes.i64", torch.int64)
        # The rows that they are in, each once, in order.
        self.probed_rows = torch.unique_consecutive(self.probes // cols)
        # The same values, as the tensor whose gradient is computed.
        self.tracked = self.logits.detach().requires_grad_()

    def run(self, operation):
        """Runs an operation to its end. The result is kept until the next run, which drops it first."""
        self.loss = self.output = self.classes = self.tracked.grad = None
        if operation == "loss":
            self.loss = F.cross_entropy(self.logits, self.targets)
        elif operation == "loss+gradient":
            self.loss = F.cross_entropy(self.tracked, self.targets)
            self.loss.backward()
            self.output = self.tracked.grad
        elif operation == "softmax":
            self.output = torch.softmax(self.logits, 1)
        elif operation.startswith("top-"):
            k = int(operation.removeprefix("top-"))
            if k > self.logits.shape[1]:
                raise ValueError("not compared")
            # The log-probabilities of the k classes alone: faster than log_softmax of all of them.
            top = torch.topk(self.logits, k)
            self.classes = (top.values - torch.logsumexp(self.logits, 1, keepdim=True), top.indices)
        else:
            raise ValueError(f"no operation '{operation}'")

    def values(self):
        loss = [] if self.loss is None else [self.loss.item()]
        output = [] if self.output is None else self.output.flatten()[self.probes].tolist()
        of_rows = [] if self.classes is None else [of[self.probed_rows].flatten() for of in self.classes]
        return loss + output + [float(value) for of in of_rows for value in of.tolist()]


def answer(contestant, words):
    match words:
        case ["load", folder, rows, cols]:
            contestant.load(folder, int(rows), int(cols))
            return "loaded"
        case ["check", operation]:
            contestant.run(operation)
            return " ".join(["values", *map(repr, contestant.values())])
        case ["time", operation, untimed, timed]:
            for _ in range(int(untimed)):
                contestant.run(operation)
            times = []
            for _ in range(int(timed)):
                start = time.perf_counter()
                contestant.run(operation)
                times.append(time.perf_counter() - start)
            return " ".join(["times", *map(repr, times)])
        case _:
            raise ValueError(f"not understood: {words}")


def main():
    contestant = Contestant()
    print(f"ready PyTorch {torch.__version__} on {torch.get_num_threads()} threads", flush=True)
    for line in sys.stdin:
        try:
            print(answer(contestant, line.rstrip("\n").split("\t")), flush=True)
        except Exception as error:  # whatever it is, it costs this one answer
            print("failed", *str(error).split(), flush=True)


main()

"""The Hessian of a CNN's loss in all of its parameters, by the recipe that goes around for PyTorch.

    python -m examples.torch_cnn_hessian                     6 x 6 images, 6,085 parameters
    python -m examples.torch_cnn_hessian --side 12           12 x 12 images, 23,365 parameters, 2.2 GB
    python -m examples.torch_cnn_hessian --compare           symhess and three ways of PyTorch, each in its own process
    python -m examples.torch_cnn_hessian --side 12 --stream H.npy      without ever holding it, and without the recipe

The recipe writes the forward pass by hand as a function of the weights, and hands it to a function `hessian`. Where
that comes from is all that differs: `torch.autograd.functional`, `torch.func`, or `symhess.functional`. Needs the extra
`torch`.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable

SAMPLES, MAPS, CLASSES = 8, 32, 5
WAYS = ("symhess", "torch", "torch-vectorize", "torch.func")


def hessian_by(way: str) -> Callable:
    """hessian(func, inputs) of one of the libraries."""
    if way == "symhess":
        from symhess.functional import hessian
        return hessian
    if way == "torch.func":
        from torch.func import hessian
        return lambda func, inputs: hessian(func, argnums=tuple(range(len(inputs))))(*inputs)
    from torch.autograd.functional import hessian
    return lambda func, inputs: hessian(func, inputs, vectorize=way == "torch-vectorize")


def recipe(hessian: Callable, side: int, repeat: int) -> dict[str, float]:
    """Seconds of the first Hessian and the fastest of the others, the largest memory, and a checksum."""
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = torch.randn(SAMPLES, 1, side, side), torch.randint(CLASSES, (SAMPLES,))
    conv_w, conv_b = 0.3 * torch.randn(MAPS, 1, 3, 3), torch.zeros(MAPS)
    fc_w, fc_b = torch.randn(CLASSES, MAPS * side * side) / math.sqrt(MAPS * side * side), torch.zeros(CLASSES)

    def loss_of_parameters(conv_w, conv_b, fc_w, fc_b):
        x = torch.tanh(F.conv2d(images, conv_w, conv_b, stride=1, padding=1))
        x = F.linear(x.flatten(1), fc_w, fc_b)
        return F.cross_entropy(x, labels)

    seconds = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        H = hessian(loss_of_parameters, (conv_w, conv_b, fc_w, fc_b))
        seconds.append(time.perf_counter() - start)
        norm = math.sqrt(sum(float((block.double()**2).sum()) for row in H for block in row[:2]))
        del H
    return {"first": seconds[0], "again": min(seconds[1:], default=math.nan), "norm": norm,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def without_the_recipe(side: int, path: str) -> None:
    """The same network as a module: its curvature as a report, its Hessian row by row into a file."""
    import torch

    import symhess.torch

    torch.manual_seed(0)
    images, labels = torch.randn(SAMPLES, 1, side, side), torch.randint(CLASSES, (SAMPLES,))
    model = torch.nn.Sequential(torch.nn.Conv2d(1, MAPS, 3, 1, 1), torch.nn.Tanh(), torch.nn.Flatten(),
                                torch.nn.Linear(MAPS * side**2, CLASSES))
    curvature = symhess.torch.curvature(model, torch.nn.CrossEntropyLoss(), images, labels)
    print(curvature.report())
    start = time.perf_counter()
    matrix = curvature.stream(path, progress=True)
    print(f"{path}: {matrix.shape[0]:,} x {matrix.shape[1]:,} numbers, {matrix.nbytes / 1e9:.2f} GB, in "
          f"{time.perf_counter() - start:.1f} s")


def measured(way: str, side: int, repeat: int, limit: float) -> dict[str, float] | str:
    """The same in a process of its own; how it failed, in words, if it did."""
    command = [sys.executable, "-m", "examples.torch_cnn_hessian", "--by", way, "--side", str(side), "--repeat",
               str(repeat), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"killed by signal {-done.returncode}"])[-1]
        return last[:80]
    return json.loads(done.stdout.splitlines()[-1])


def compare(sides: list[int], repeat: int, limit: float) -> None:
    """A table of all ways."""
    print(f"{'image':>7} {'by':<16} {'first':>9} {'again':>9} {'memory':>9}")
    for side in sides:
        for way in WAYS:
            found = measured(way, side, repeat, limit)
            told = found if isinstance(found, str) else (f"{found['first']:7.2f} s {found['again']:7.3f} s "
                                                         f"{found['memory'] / 1e9:6.2f} GB   norm {found['norm']:.5g}")
            print(f"{f'{side} x {side}':>7} {way:<16} {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, action="append", help="height and width of the images")
    parser.add_argument("--by", choices=WAYS, default="symhess")
    parser.add_argument("--repeat", type=int, default=2, help="Hessians after the first one")
    parser.add_argument("--compare", action="store_true", help="all ways, each in its own process")
    parser.add_argument("--seconds", type=float, default=600, help="limit for one way")
    parser.add_argument("--stream", metavar="FILE", help="report on curvature, and write H to a .npy file")
    parser.add_argument("--json", action="store_true", help="print the record alone")
    arguments = parser.parse_args()
    sides = arguments.side or [6]
    if arguments.compare:
        compare(sides, arguments.repeat, arguments.seconds)
        return
    if arguments.stream:
        without_the_recipe(sides[0], arguments.stream)
        return
    found = recipe(hessian_by(arguments.by), sides[0], arguments.repeat)
    n = 10 * MAPS + CLASSES * (MAPS * sides[0]**2 + 1)
    print(json.dumps(found) if arguments.json else f"{n:,} parameters, {n * n * 4 / 1e9:.2f} GB: first "
          f"{found['first']:.2f} s, again {found['again']:.3f} s, {found['memory'] / 1e9:.2f} GB of memory; norm of "
          f"the convolution's columns {found['norm']:.5g}")


if __name__ == "__main__":
    main()

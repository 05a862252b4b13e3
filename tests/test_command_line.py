"""`python -m symhess inspect`."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from symhess.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
SOURCE = '''
import numpy as np
from symhess import hessian_jit

def loss(w, b, x, rate=0.5, power=2):
    return rate * np.sum((x @ w + b) ** power)

@hessian_jit
def compiled(x):
    return np.sum(np.sin(x[1:]) * x[:-1])

@hessian_jit(static_argnums=1, sparse=True, mode="autograd")
def with_options(x, power):
    return np.sum(x ** int(power)) + x[0] * x[1]

class Model:
    def __init__(self):
        self.scale = 3.0

    def energy(self, x):
        return self.scale * np.sum(x**4)

model = Model()
number = 3

def writes(x):
    x[0] = 1.0
    return np.sum(x)

def branches(x):
    return x[0] ** 2 if x[0] > 5 else x[0] ** 4
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "user_code_for_inspect.py"
    path.write_text(SOURCE)
    yield str(path)
    sys.modules.pop(path.stem, None)


@pytest.fixture(autouse=True)
def path_as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def printed(capsys, words):
    assert main(["inspect", *words.split()]) == 0
    return capsys.readouterr().out


def test_a_function_of_a_module_from_the_shell():
    words = ["-m", "symhess", "inspect", "scipy.optimize:rosen", "--shape", "x=100", "--mode", "autograd"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert "Hessian of rosen: 100 variables" in done.stdout and "tridiagonal" in done.stdout


def test_arguments_by_name(file, capsys):
    text = printed(capsys, f"{file}:loss --shape w=3 --shape b= --shape x=5x3 --value rate=0.25 --argnums w,b "
                           "--mode autograd --graph --source --check")
    assert "4 variables (arg0 float64[3], arg1 float64[])" in text
    assert "10 agree" in text and "0 differ" in text


def test_dtype_and_values_that_decide(file, capsys):
    assert "float32" in printed(capsys, f"{file}:loss --shape w=3 --value b=0 --shape x=5x3 --dtype float32 "
                                        "--mode autograd")
    low = printed(capsys, f"{file}:branches --shape x=1 --mode autograd")
    high = printed(capsys, f"{file}:branches --value x=[7.0] --mode autograd")
    assert "False" in low and "True" in high and "guards" in low


def test_options_come_before_those_of_a_decorator(file, capsys):
    at = f"{file}:with_options --shape x=5 --value power=3 --source"
    own, same, compiled = (printed(capsys, at + more) for more in (
        "", " --mode autograd --sparse --argnums x", " --mode symbolic --no-sparse"))
    graph = own[own.index("\n\n"):]
    assert "interpreted" in own and graph.count("[1]") and graph == same[same.index("\n\n"):]
    assert "interpreted" not in compiled and "fill(out0, 25, 0)" in compiled
    assert "interpreted" in printed(capsys, f"{file}:compiled --shape x=6 --mode autograd")


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
def test_kernels_of_another_target(file, capsys):
    text = printed(capsys, f"{file}:loss --shape w=3 --value b=0 --shape x=5x3 --target cuda --source")
    assert "launches: " in text and "def kernel0(" in text and "cuda.grid(1)" in text


def test_compiled_functions_methods_and_objects(file, capsys):
    assert "tridiagonal" in printed(capsys, f"{file}:compiled --shape x=6")
    assert "diagonal" in printed(capsys, f"{file}:model.energy --shape x=4 --mode autograd --sparse")


@pytest.mark.parametrize("argv, message", [
    (["{file}"], "names no function; write module:function or file.py:function"),
    (["{file}:nothing"], "has no 'nothing'; it has hessian_jit, loss, compiled, with_options, Model, writes, branches"),
    (["{file}:number"], "is a int, not a function"),
    (["no_such_module_here:f"], "cannot import no_such_module_here"),
    (["no_such_file.py:f"], "there is no file no_such_file.py"),
    (["{file}:compiled"], "the argument 'x' has neither shape nor value: add --shape x=..."),
    (["{file}:compiled", "--shape", "y=3"], "no argument is called 'y'; there are x"),
    (["{file}:compiled", "--shape", "x=3", "--value", "x=2"], "an argument is given twice"),
    (["{file}:compiled", "--shape", "x=3.5"], "a shape is one or more whole numbers"),
    (["{file}:compiled", "--shape", "3"], "write --shape NAME=100x3"),
    (["{file}:compiled", "--value", "x=y+1"], "not a Python literal"),
    (["{file}:compiled", "--shape", "x=3", "--argnums", "z"], "no argument is called 'z'"),
    (["{file}:writes", "--shape", "x=3"], "InputMutation: writes writes into its input"),
])
def test_what_cannot_be_meant(file, capsys, argv, message):
    assert main(["inspect", *(a.format(file=file) for a in argv)]) == 1
    out, err = capsys.readouterr()
    assert message in err and not out


def test_arrays_made_up_are_the_same_in_every_run(file, capsys):
    texts = [printed(capsys, f"{file}:branches --shape x=2 --mode autograd --check") for _ in range(2)]
    first, second = (t[t.index("against differences"):] for t in texts)
    assert first == second and "H[arg0[0], arg0[0]]" in first

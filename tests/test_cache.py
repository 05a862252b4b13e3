"""Kernels on disk: damaged files, full and missing disks, interrupted compiles, several processes and threads."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from symhess import cache_clear, hessian_jit
from symhess.api import kernels
from symhess.backends import direct, disk_cache
from symhess.errors import SymhessWarning

ROOT = Path(__file__).resolve().parent.parent
X = np.array([0.3, -1.2, 0.7])


def made(cache, number=1.0):
    return hessian_jit(lambda x: number * np.sum(np.exp(x) * x[0]), cache=cache)


def exact(x, number=1.0):
    H = np.diag(np.exp(x) * x[0])
    H[0] += np.exp(x)
    H[:, 0] += np.exp(x)
    return number * H


def machine_code(directory):
    return sorted(p for p in directory.rglob("symhess_*.o") if p.is_file())


def compiled_once(monkeypatch):
    """A list that grows with every kernel that is compiled."""
    made, real = [], direct.compiled
    monkeypatch.setattr(direct, "compiled", lambda *args: made.append(1) or real(*args))
    return made


def test_code_is_kept_and_loaded(tmp_path, monkeypatch):
    count = compiled_once(monkeypatch)
    for _ in range(2):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert len(count) == 1 and len(machine_code(tmp_path)) == 1


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", flipped, lambda b: b[:10]],
                         ids=["cut", "empty", "flipped", "short"])
def test_damaged_code_is_never_run(tmp_path, damage, monkeypatch):
    count = compiled_once(monkeypatch)
    made(tmp_path)(X)
    for path in machine_code(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(SymhessWarning, match="is damaged"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)  # repaired: no warning is left
    assert len(count) == 2


def test_code_of_other_options_and_arrays_is_told_apart(tmp_path):
    f = made(tmp_path)
    f(X), f(X.astype(np.float32)), f(X[:2])
    hessian_jit(lambda x: np.sum(np.exp(x) * x[0]), cache=tmp_path, fastmath=True)(X)
    assert len(machine_code(tmp_path)) == 4


def test_a_directory_stays_within_its_size(tmp_path, monkeypatch):
    f = made(tmp_path)
    f(X)
    (first,) = machine_code(tmp_path)
    os.utime(first, (1, 1))
    monkeypatch.setenv("SYMHESS_CACHE_SIZE", str(first.stat().st_size * 3 // 2))
    np.testing.assert_allclose(f(X[:2]), exact(X[:2]), rtol=1e-14)
    assert first not in machine_code(tmp_path) and len(machine_code(tmp_path)) == 1


def test_a_directory_that_can_only_be_read(tmp_path, monkeypatch):
    made(tmp_path)(X)
    count = compiled_once(monkeypatch)
    refuse = lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError("read-only"))
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert not count
    with pytest.warns(SymhessWarning, match="read-only.*compiled in memory"):
        np.testing.assert_allclose(made(tmp_path, 7.0)(X), exact(X, 7.0), rtol=1e-14)


def test_clearing(tmp_path):
    f = made(tmp_path)
    f(X), f.grad(X)
    assert cache_clear(tmp_path) == 2 and not list(tmp_path.iterdir())
    np.testing.assert_allclose(f(X), exact(X), rtol=1e-14)
    assert cache_clear(tmp_path / "nothing here") == 0


def test_code_with_libraries_is_loaded_by_another_process(tmp_path):
    """BLAS, SciPy's special functions, and what Numba compiled, have to be found again."""
    script = tmp_path / "use.py"
    script.write_text(
        "import sys, numpy as np, scipy.special as sp\nfrom symhess import hessian_jit\n"
        "from symhess.backends import direct\n"
        "count, real = [], direct.compiled\n"
        "direct.compiled = lambda *args: count.append(1) or real(*args)\n"
        "A = np.arange(12.0).reshape(4, 3) / 7\n"
        "def f(x):\n"
        "    S = A.T @ (A * np.exp(A @ x)[:, None]) + np.eye(3)\n"
        "    return np.sum(sp.gammaln(2 + x**2)) + np.linalg.slogdet(S)[1] + np.linalg.eigvalsh(S)[0]\n"
        "print(len(count), hessian_jit(f, cache=sys.argv[1])(np.array([0.3, -1.2, 0.7])).tolist(), len(count))\n")
    command = [sys.executable, str(script), str(tmp_path / "kernels")]
    printed = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout for _ in range(2)]
    assert printed[0].split()[-1] != "0" and printed[1].split()[-1] == "0"
    assert printed[0].split()[1:-1] == printed[1].split()[1:-1]


def test_an_unfinished_file_is_not_looked_at(tmp_path):
    """What an interrupted process leaves behind."""
    made(tmp_path)(X)
    for path in machine_code(tmp_path):
        path.rename(tmp_path / "unfinished.tmp")
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert len(machine_code(tmp_path)) == 1


def test_a_full_disk_costs_a_warning(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.warns(SymhessWarning, match="No space left on device.*compiled in memory"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert not list(tmp_path.glob("symhess_*"))


def test_a_disk_that_fills_up_while_code_is_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(SymhessWarning, match="cannot be used"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)


def test_a_place_that_is_no_directory_costs_a_warning(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.warns(SymhessWarning, match="cannot be used"):
        np.testing.assert_allclose(made(file / "kernels")(X), exact(X), rtol=1e-14)


def test_captured_arrays_are_told_apart_by_content(tmp_path):
    weights = np.linspace(1, 2, 3)
    for scale in (1.0, 3.0):
        f = hessian_jit(lambda x: np.sum(scale * weights * x**2), cache=tmp_path)  # noqa: B023
        np.testing.assert_allclose(f.diagonal(X), 2 * scale * weights, rtol=1e-14)


def test_an_interrupted_compile_leaves_nothing_behind(monkeypatch):
    f = made(False, 2.0)
    real = kernels.CompiledRunner

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(kernels, "CompiledRunner", interrupted)
    with pytest.raises(KeyboardInterrupt):
        f(X)
    monkeypatch.setattr(kernels, "CompiledRunner", real)
    np.testing.assert_allclose(f(X), exact(X, 2.0), rtol=1e-14)


def test_an_interrupted_trace_leaves_nothing_behind():
    calls = []

    @hessian_jit
    def f(x):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return np.sum(x**3)

    with pytest.raises(KeyboardInterrupt):
        f(X)
    np.testing.assert_allclose(f(X), np.diag(6 * X), rtol=1e-14)
    assert np.zeros(2).sum() == 0


def test_processes_share_a_directory(tmp_path):
    script = tmp_path / "use.py"
    script.write_text("import sys, numpy as np\nfrom symhess import hessian_jit\n"
                      "f = hessian_jit(lambda x: np.sum(np.exp(x) * x[0]), cache=sys.argv[1])\n"
                      "print(repr(f(np.array([0.3, -1.2, 0.7])).tolist()))\n")
    command = [sys.executable, str(script), str(tmp_path / "kernels")]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(3)]
    printed = [p.communicate(timeout=180) for p in running]
    assert all(p.returncode == 0 for p in running), printed
    for out, err in printed:
        np.testing.assert_allclose(eval(out), exact(X), rtol=1e-14)
        assert "Error" not in err


def test_threads_meet_at_a_first_call(tmp_path):
    f, results, gate = made(tmp_path, 3.0), [], threading.Barrier(6)

    def call(k):
        gate.wait()
        product = [f, f.grad, f.hvp][k % 3]
        results.append((k, product(X, X) if k % 3 == 2 else product(X)))

    threads = [threading.Thread(target=call, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    H = exact(X, 3.0)
    gradient = 3 * (np.exp(X) * X[0] + np.eye(3)[0] * np.exp(X).sum())
    assert len(results) == 6
    for k, r in results:
        np.testing.assert_allclose(r, [H, gradient, H @ X][k % 3], rtol=1e-13)


def test_the_directory_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMHESS_CACHE_DIR", str(tmp_path / "here"))
    assert disk_cache.cache_directory(True) == tmp_path / "here"
    monkeypatch.delenv("SYMHESS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk_cache.cache_directory(True) == tmp_path / "symhess"

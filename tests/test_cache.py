"""Kernels on disk: damaged files, full and missing disks, interrupted compiles, several processes and threads."""

import errno
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.api import kernels
from symhess.backends import disk_cache
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


def forgotten(name="symhess_"):
    """Take the generated modules of this process out of memory, as in a new process."""
    for key in [k for k in sys.modules if k.startswith(name)]:
        del sys.modules[key]


@pytest.fixture(autouse=True)
def memory_as_in_a_new_process():
    forgotten()
    yield
    forgotten()


def machine_code(directory):
    return sorted(p for p in directory.rglob("*.nb?") if p.is_file())


def test_code_is_kept_and_loaded(tmp_path):
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    before = {p: p.stat().st_mtime_ns for p in machine_code(tmp_path)}
    forgotten()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert before == {p: p.stat().st_mtime_ns for p in machine_code(tmp_path)} != {}


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", flipped], ids=["cut", "empty", "flipped"])
@pytest.mark.parametrize("which", ["nbi", "nbc"])
def test_damaged_code_is_never_run(tmp_path, damage, which):
    made(tmp_path)(X)
    for path in machine_code(tmp_path):
        if path.suffix == f".{which}":
            path.write_bytes(damage(path.read_bytes()))
    forgotten()
    with pytest.warns(SymhessWarning, match="is damaged"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    forgotten()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)  # repaired: no warning is left


def test_code_without_a_seal_is_compiled_anew(tmp_path):
    """What an interrupted process leaves behind."""
    made(tmp_path)(X)
    for path in machine_code(tmp_path):
        path.write_bytes(b"half")
    for seal in tmp_path.rglob("*.seal"):
        seal.unlink()
    forgotten()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert all(len(p.read_bytes()) > 4 for p in machine_code(tmp_path)) and list(tmp_path.rglob("*.seal"))


def test_an_altered_module_is_written_again(tmp_path):
    made(tmp_path)(X)
    for path in tmp_path.glob("symhess_*.py"):
        path.write_text("kernel = None")
    forgotten()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)


def test_a_full_disk_costs_a_warning(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.warns(SymhessWarning, match="No space left on device.*compiled in memory"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    assert not list(tmp_path.glob("symhess_*"))


def test_a_disk_that_fills_up_while_code_is_written(tmp_path, monkeypatch):
    from numba.core import caching

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    with pytest.warns(SymhessWarning, match="cannot be used"):
        np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)
    monkeypatch.undo()
    forgotten()
    np.testing.assert_allclose(made(tmp_path)(X), exact(X), rtol=1e-14)


def test_a_place_that_is_no_directory_costs_a_warning(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.warns(SymhessWarning, match="cannot be used"):
        np.testing.assert_allclose(made(file / "kernels")(X), exact(X), rtol=1e-14)


def test_captured_arrays_are_told_apart_by_content(tmp_path):
    weights = np.linspace(1, 2, 3)
    for scale in (1.0, 3.0):
        forgotten()
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
                                env={**__import__("os").environ, "PYTHONPATH": str(ROOT)}) for _ in range(3)]
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

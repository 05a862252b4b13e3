"""The package as users get it: what an import loads, what a wheel holds, what the public names are."""

from __future__ import annotations

import builtins
import inspect
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import symhess
from symhess.backends import disk_cache

ROOT = Path(__file__).resolve().parent.parent
#: what `import symhess` leaves for the first use of what needs it
HEAVY = ("sympy", "scipy.sparse", "scipy.special", "scipy.linalg", "scipy.optimize", "numba", "llvmlite",
         "matplotlib", "jax", "torch", "sklearn", "pandas")


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_leaves_heavy_packages_alone():
    assert not loaded_by("import symhess").intersection(HEAVY)


def test_autograd_mode_compiles_nothing():
    """Interpreted functions need NumPy alone."""
    statement = ("import numpy as np; from symhess import hessian_jit; "
                 "f = hessian_jit(lambda x: np.sum(np.sin(x) * x[0]), mode='autograd'); f(np.ones(3))")
    assert not loaded_by(statement).intersection({"sympy", "numba", "llvmlite", "matplotlib", "jax"})


@pytest.mark.parametrize("function", ["np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)", "x @ x * np.exp(x[0])"])
def test_first_calls_leave_what_takes_long_alone(function, tmp_path):
    """Kernels that are found on disk do without what plans for GPUs, fractions and descriptions of packages need."""
    statement = (f"import numpy as np; from symhess import hessian_jit; "
                 f"f = hessian_jit(lambda x: {function}, cache={str(tmp_path)!r}); f(np.ones(3)); f(np.ones(3))")
    apart = {*HEAVY, "importlib.metadata", "email", "fractions", "decimal", "symhess.plan.grid", "symhess.cuda.source"}
    for _ in range(2):
        assert loaded_by(statement).intersection(apart) <= {"llvmlite"}


@pytest.mark.parametrize("package", ["numba", "llvmlite", "numpy", "scipy", "optree"])
def test_versions_are_those_of_the_installed_packages(package):
    assert disk_cache.version(package) == metadata.version(package)


def test_packages_that_are_not_there_have_no_version():
    with pytest.raises(metadata.PackageNotFoundError):
        disk_cache.version("no_such_package")


def test_the_check_of_loaded_modules_sees_one():
    assert "numba" in loaded_by("import symhess, numba")


def test_types_are_shipped():
    assert files("symhess").joinpath("py.typed").is_file()
    assert symhess.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {symhess.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_public_names_exist_and_are_documented():
    assert sorted(symhess.__all__) == symhess.__all__
    for name in symhess.__all__:
        assert inspect.getdoc(getattr(symhess, name)), f"{name} has no docstring"


def test_public_methods_are_documented():
    methods = inspect.getmembers(symhess.HessianFunction, inspect.isfunction)
    assert not [name for name, m in methods if not name.startswith("_") and not m.__doc__]


def test_every_public_name_is_in_the_reference():
    reference = (ROOT / "docs" / "api.md").read_text()
    methods = [n for n, _ in inspect.getmembers(symhess.HessianFunction, inspect.isfunction) if not n.startswith("_")]
    from symhess import errors

    raised = [n for n, c in vars(errors).items() if inspect.isclass(c)]
    missing = [n for n in symhess.__all__ if f"`{n}" not in reference]
    missing += [n for n in methods if f"`.{n}" not in reference] + [n for n in raised if f"`{n}`" not in reference]
    assert not missing


@pytest.mark.slow
def test_a_wheel_holds_every_module(tmp_path: Path):
    pytest.importorskip("setuptools", "77")
    pytest.importorskip("build")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("symhess", "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)],
                   check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "symhess").rglob("*.py")}
    assert modules | {"symhess/py.typed"} <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_kernels_import_the_libraries_that_they_call():
    """SciPy's compiled functions and Numba are slow to import; a kernel without them does not pay for them."""
    statement = ("import numpy as np; from symhess import hessian_jit; "
                 "f = hessian_jit(lambda x: np.sum(np.sin(x) * x[0])); f(np.ones(3))")
    loaded = loaded_by(statement)
    assert "llvmlite" in loaded
    assert not loaded.intersection({"numba", "scipy.special", "scipy.sparse", "scipy.linalg", "sympy"})


def test_linear_algebra_needs_no_numba():
    loaded = loaded_by("import numpy as np; from symhess import hessian_jit; A = np.eye(40) + 0.1; f = hessian_jit("
                       "lambda x: np.linalg.slogdet(A * np.exp(x))[1] + x @ np.linalg.solve(A + np.outer(x, x), x)); "
                       "f(np.ones(40))")
    assert "scipy.linalg" in loaded and "numba" not in loaded


def test_names_that_every_kernel_may_use_are_known_by_both_compilers():
    from symhess.backends import names, numba_names
    from symhess.backends.restricted_calls import NATIVE

    assert set(NATIVE) - {"gemm_into", "syrk_half", "potrf", "getrf", "trsm", "missing"} <= names.KNOWN
    assert names.KNOWN - set(vars(builtins)) == set(numba_names.BASE) - {"math", "np", "nan", "inf"}


def test_libraries_are_where_the_table_says():
    from symhess.backends import names

    for library, functions in names.LIBRARIES.items():
        assert set(names.library_names(library)) == set(functions)
    assert names.libraries_of("a = math.sin(gemm(x)) + np.dot(lu(y))") == ["support_blas", "support_linalg"]
    assert names.libraries_of("def body(a):\n    return range(len(a))\nbody(digamma(3))") == ["support_special"]

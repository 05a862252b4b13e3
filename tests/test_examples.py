"""Every example runs as a script in a process of its own and prints the number that it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def output_of(name, folder, *arguments):
    """What an example prints, run in `folder`."""
    command = [sys.executable, "-m", f"examples.{name}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number(pattern, text):
    """The number in the first group of a regular expression."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"no {pattern!r} in\n{text}"
    return float(found.group(1))


def test_cnn_parameter_hessian(tmp_path):
    text = output_of("cnn_parameter_hessian", tmp_path, "--samples", 60, "--steps", 0, 5, 60, "--picture",
                     tmp_path / "curvature.png")
    rows = [[float(cell.rstrip("%")) for cell in line.split()] for line in text.splitlines()
            if re.match(r" *\d+ +\d", line)]
    assert [row[0] for row in rows] == [0, 5, 60]
    losses, accuracies, gaps = ([row[k] for row in rows] for k in (1, 2, 8))
    assert losses[2] < 0.5 < losses[1] < losses[0] and accuracies[2] > 0.6
    assert gaps[2] < gaps[0], "the Gauss-Newton matrix approaches the Hessian"
    assert number(r"^([\d,]+) parameters".replace(",", ""), text.replace(",", "")) == 1370
    assert (tmp_path / "curvature.png").read_bytes().startswith(b"\x89PNG")


def test_torch_cnn_hessian(tmp_path):
    pytest.importorskip("torch")
    ours, theirs = (output_of("torch_cnn_hessian", tmp_path, "--side", 3, "--repeat", 0, "--by", way)
                    for way in ("symhess", "torch"))
    assert "1,765 parameters" in ours
    assert number(r"columns (\S+)", ours) == pytest.approx(number(r"columns (\S+)", theirs), rel=1e-4)
    text = output_of("torch_cnn_hessian", tmp_path, "--side", 2, "--stream", tmp_path / "H.npy")
    matrix = np.load(tmp_path / "H.npy")
    assert matrix.shape == (965, 965) and np.abs(matrix - matrix.T).max() < 1e-6 * np.abs(matrix).max()
    assert number(r"trace (\S+), Frobenius", text) == pytest.approx(np.trace(matrix), rel=1e-4)


def test_newton_scipy(tmp_path):
    text = output_of("newton_scipy", tmp_path)
    assert "solved to f < 1e-10 with exact derivatives: 8 of 8" in text
    rows = [line.split("|")[1:] for line in text.splitlines() if line.count("|") == 2 and re.search(r"\d", line)]
    assert len(rows) == 8
    for exact, differences in rows:
        assert int(exact.split()[2]) < int(differences.split()[1]), "exact derivatives need fewer calls"


def test_logistic_newton(tmp_path):
    text = output_of("logistic_newton", tmp_path, "--picture", tmp_path / "picture.png")
    assert number(r"^gradient norm: (\S+)", text) < 1e-10
    assert number(r"^training accuracy: (\S+)", text) > 0.98
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert text.startswith("Hessian of loss: 31 variables")


def test_minimal_surface(tmp_path):
    text = output_of("minimal_surface", tmp_path, "--size", 65, "--plot", tmp_path / "surface.png")
    rows = [line.split() for line in text.splitlines() if re.match(r"\s*\d+x\d+", line)]
    (coarse, fine) = ([float(cell) for cell in row[1:6]] for row in rows)
    assert fine[0] == 63**2
    assert fine[1] == (3 * 63 - 2) ** 2, "the nine-point stencil"
    assert fine[3] < 1e-12
    assert 3.5 < coarse[4] / fine[4] < 4.5, "second order"
    assert (tmp_path / "surface.png").read_bytes().startswith(b"\x89PNG")


def test_maximum_likelihood(tmp_path):
    text = output_of("maximum_likelihood", tmp_path)
    assert number(r"^largest deviation from the published figures: (\S+)", text) < 0.01
    assert number(r"largest difference (\S+)", text) < 1e-12


def test_lennard_jones(tmp_path):
    text = output_of("lennard_jones", tmp_path)
    assert number(r"^lowest energy: (\S+)", text) == pytest.approx(-44.326801, abs=1e-6)
    assert "zero modes: 6, vibrations: 33" in text
    multiplicities = [int(count) for count in re.findall(r"^\s+\d+\.\d{4}\s+(\d)$", text, re.MULTILINE)]
    assert sorted(multiplicities[1:]) == [1, 3, 3, 3, 4, 4, 5, 5, 5], "irreducible representations of the icosahedron"

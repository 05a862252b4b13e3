"""Compiled kernels against the NumPy interpreter, and against NumPy expressions written out by hand."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symhess.backends import support_special
from symhess.backends.cpu import compile_program
from symhess.backends.interpreter import run_program
from symhess.errors import SymhessWarning
from symhess.graph.maps import affine_map, identity_maps, ravel_maps, table_map
from symhess.graph.node import constant, input_node
from symhess.plan.boxes import writes_of_sum
from symhess.plan.options import Options
from symhess.plan.program import Buffer, Program, Write, verify_program, whole
from symhess.primitives import (
    ELEMENTWISE,
    apply,
    broadcast_to,
    cast,
    concatenate,
    contract,
    cumsum,
    einsum,
    element,
    gather_axis,
    index,
    matmul,
    reduce_with,
    reshape,
    scatter,
    slice_axis,
    stack,
    sum_over,
    transpose,
)

RNG = np.random.default_rng(12345)


def run_compiled(program, arrays, options=None):
    """Outputs of the compiled kernel, in buffers that begin with rubbish."""
    verify_program(program)
    kernel = compile_program(program, options)
    outputs = [np.full(b.shape, 77, b.dtype) for b in program.outputs]
    kernel.entry(*arrays, *outputs)
    return outputs, kernel


def agree(program, arrays, rtol=1e-12, options=None):
    """Compile, run, and compare with the interpreter; gives the compiled outputs."""
    arrays = [np.array(a, dtype=v.dtype, order="C") for a, v in zip(arrays, program.inputs)]
    outputs, _ = run_compiled(program, arrays, options)
    for got, expected in zip(outputs, run_program(program, arrays)):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    return outputs


def program_of(inputs, *values):
    return Program(tuple(inputs), tuple(whole(v) for v in values))


def const(value, dtype=np.float64):
    return constant(np.asarray(value, dtype))


# -- elementwise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_elementwise_primitive_matches_numpy(dtype):
    special = np.array([0, -0.0, 1.5, -1.5, 0.5, -0.5, 2, 700, -700, 1e19, -1e19, np.inf, -np.inf, np.nan], dtype)
    x, y = input_node("x", special.shape, dtype), input_node("y", special.shape, dtype)
    b = apply("less", x, y)
    names, values = [], []
    for name, op in ELEMENTWISE.items():
        if op.kernel.split("(")[0] in support_special.NAMES:
            continue
        if name.startswith("logical"):
            args = [b, apply("greater", x, const(0, dtype))]
        elif name == "where":
            args = [b, x, y]
        else:
            args = [x, y]
        names.append(name)
        values.append(apply(op, *args[:op.nargs]))
    program = program_of([x, y], *values)
    tolerance = 1e-13 if dtype == np.float64 else 2e-6
    arrays = [special, RNG.permutation(special)]
    outputs, _ = run_compiled(program, arrays)
    for name, got, expected in zip(names, outputs, run_program(program, arrays)):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=name)
        assert got.dtype == (np.bool_ if values[names.index(name)].dtype == np.bool_ else dtype)


def test_broadcasting_of_size_one_axes_and_scalars():
    x, y, s = input_node("x", (4, 1)), input_node("y", (1, 5)), input_node("s", ())
    value = apply("mul", apply("add", x, y), s)
    a, b = RNG.random((4, 1)), RNG.random((1, 5))
    (got,) = agree(program_of([x, y, s], value), [a, b, 3.0])
    np.testing.assert_allclose(got, (a + b) * 3.0)


def test_float32_computes_in_float32():
    x = input_node("x", (3,), np.float32)
    value = apply("sub", apply("add", x, const(1e8, np.float32)), const(1e8, np.float32))
    (got,) = agree(program_of([x], value), [[1.0, 2.0, 5.0]])
    assert got.tolist() == [np.float32(v) + np.float32(1e8) - np.float32(1e8) for v in (1, 2, 5)]


def test_casts_between_all_types():
    x = input_node("x", (4,))
    values = [cast(cast(x, t), np.float64) for t in (np.float32, np.int64, np.bool_)]
    agree(program_of([x], *values, cast(x, np.int64)), [[0.0, 1.7, -2.3, 1e-9]], rtol=0)


# -- movement ------------------------------------------------------------------------------------------------------


def test_movement_chain():
    x = input_node("x", (4, 6))
    windows = index(x, [affine_map((4, 4, 3), 0, {0: 1}), affine_map((4, 4, 3), 0, {1: 1, 2: 1})], (4, 4, 3))
    gathered = gather_axis(apply("exp", x), 1, np.array([5, 0, 3, 3, 1]))
    values = [
        transpose(apply("sin", x), (1, 0)), slice_axis(x, 1, 5, -2, 3), reshape(apply("neg", x), (3, 8)),
        reshape(transpose(x, (1, 0)), (2, 12)), windows, sum_over(windows, [2]), gathered,
        reshape(slice_axis(gathered, 0, 1, 1, 3), (5, 3)), broadcast_to(sum_over(x, [0]), (3, 6)),
    ]
    a = RNG.random((4, 6))
    got = agree(program_of([x], *values), [a])
    np.testing.assert_array_equal(got[3], a.T.reshape(2, 12))
    np.testing.assert_allclose(got[4], np.lib.stride_tricks.sliding_window_view(a, 3, axis=1))


def test_scatters_pads_and_collisions():
    x, y = input_node("x", (5,)), input_node("y", (3,))
    collide = scatter(apply("mul", x, x), [table_map(np.array([2, 0, 2, 6, 2]), (5,))], (7,))
    pad = scatter(y, [affine_map((3,), 1, {0: 1})], (7,))
    strided = scatter(y, [affine_map((3,), 1, {0: 2})], (7,))
    total = apply("sub", apply("add", collide, pad), strided)
    values = [collide, total, concatenate([x, y, x], 0), apply("exp", total), sum_over(apply("mul", pad, pad), [0])]
    agree(program_of([x, y], *values), [RNG.random(5), RNG.random(3)])


def test_pads_of_two_axes_become_boxes_without_clearing():
    x, y, z = input_node("x", (4, 5)), input_node("y", (3, 5)), input_node("z", (4, 4))
    pads = [x, scatter(y, [affine_map((3, 5), 1, {0: 1}), affine_map((3, 5), 0, {1: 1})], (4, 5)),
            scatter(z, [affine_map((4, 4), 0, {0: 1}), affine_map((4, 4), 0, {1: 1})], (4, 5))]
    total = apply("sub", apply("add", pads[0], pads[1]), pads[2])
    writes, zero = writes_of_sum(total)
    assert not zero and len(writes) == 4 and not any(w.accumulate for w in writes)
    program = Program((x, y, z), (Buffer((4, 5), np.dtype(float), writes),))
    a, b, c = RNG.random((4, 5)), RNG.random((3, 5)), RNG.random((4, 4))
    (got,) = agree(program, [a, b, c])
    np.testing.assert_allclose(got, a + np.pad(b, ((1, 0), (0, 0))) - np.pad(c, ((0, 0), (0, 1))))


def test_rows_scattered_into_a_matrix():
    x = input_node("x", (4,))
    first = scatter(apply("exp", x), [affine_map((4,), 2, {}), affine_map((4,), 3, {0: -1})], (3, 4))
    second = scatter(x, [affine_map((4,), 0, {}), affine_map((4,), 0, {0: 1})], (3, 4))
    a = RNG.random(4)
    (got,) = agree(program_of([x], apply("add", first, second)), [a])
    np.testing.assert_allclose(got, [a, np.zeros(4), np.exp(a)[::-1]])


def test_stack_and_elements():
    x = input_node("x", (3,))
    parts = [apply("exp", element(x, (k,))) for k in range(3)]
    vector = stack([*parts, parts[0]])
    agree(program_of([x], vector, apply("mul", vector, vector), sum_over(vector, [0])), [RNG.random(3)])


# -- reductions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "max", "min"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 4, 2), (70, 2, 90)])
def test_reductions_over_any_axes(name, axes, shape):
    x = input_node("x", shape)
    a = RNG.normal(size=shape)
    (got,) = agree(program_of([x], reduce_with(name, apply("mul", x, x), axes)), [a])
    np.testing.assert_allclose(got, getattr(np, name)(a * a, axis=axes))


def test_softmax_and_its_normaliser():
    x = input_node("x", (6, 200))
    peak = reshape(reduce_with("max", x, [1]), (6, 1))
    e = apply("exp", apply("sub", x, peak))
    total = reshape(sum_over(e, [1]), (6, 1))
    a = RNG.normal(size=(6, 200))
    got = agree(program_of([x], apply("div", e, total), apply("add", apply("log", total), peak)), [a])
    expected = np.exp(a - a.max(1, keepdims=True))
    np.testing.assert_allclose(got[0], expected / expected.sum(1, keepdims=True))


def test_extremes_keep_nan_and_infinity():
    x = input_node("x", (100,))
    a = RNG.normal(size=100)
    for special in (np.nan, np.inf, -np.inf):
        a[37] = special
        agree(program_of([x], *(reduce_with(name, x, [0]) for name in ("sum", "max", "min"))), [a])


def test_cumulative_sums():
    x = input_node("x", (3, 4, 5))
    values = [cumsum(apply("exp", x), axis, reverse) for axis in range(3) for reverse in (False, True)]
    agree(program_of([x], *values, apply("exp", cumsum(x, 1))), [RNG.random((3, 4, 5))])


# -- products ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype,tolerance", [(np.float64, 1e-11), (np.float32, 2e-3)])
def test_chain_of_matrix_products(dtype, tolerance):
    a, b, c = (input_node(n, s, dtype) for n, s in (("a", (40, 30)), ("b", (30, 50)), ("c", (50, 7))))
    hidden = apply("tanh", matmul(a, b))
    arrays = [RNG.normal(size=v.shape).astype(dtype) for v in (a, b, c)]
    got = agree(program_of([a, b, c], matmul(hidden, c), matmul(transpose(hidden, (1, 0)), a)), arrays, rtol=tolerance)
    expected = np.tanh(arrays[0] @ arrays[1])
    np.testing.assert_allclose(got[0], expected @ arrays[2], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("text,shapes", [
    ("ij,jk->ik", [(50, 60), (60, 40)]), ("ji,kj->ik", [(60, 50), (40, 60)]),
    ("bij,bjk->bik", [(3, 30, 20), (3, 20, 40)]),
    ("bij,bkj->kbi", [(5, 20, 30), (5, 40, 30)]),
    ("ijk,jkl->il", [(20, 6, 7), (6, 7, 30)]),
    ("ij,jk,kl->il", [(30, 20), (20, 40), (40, 25)]), ("ij,ij->", [(9, 8), (9, 8)]), ("ij,j->i", [(300, 200), (200,)]),
    ("ij,i->j", [(300, 200), (300,)]), ("i,j,k->ik", [(4,), (5,), (6,)]),
    ("abc,cd,be->ade", [(10, 30, 20), (20, 25), (30, 15)]),
])
def test_contractions_match_einsum(text, shapes):
    nodes = [input_node(f"a{k}", s) for k, s in enumerate(shapes)]
    arrays = [RNG.normal(size=s) for s in shapes]
    (got,) = agree(program_of(nodes, einsum(text, *nodes)), arrays, rtol=1e-10)
    np.testing.assert_allclose(got, np.einsum(text, *arrays), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("signs", ["plus", "minus", "mixed", "none"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_symmetric_products(signs, dtype):
    a, w = input_node("a", (90, 33), dtype), input_node("w", (90,), dtype)
    weight = RNG.random(90) + 0.1
    weight *= {"plus": 1, "minus": -1, "mixed": np.where(np.arange(90) % 3, 1, -1), "none": 1}[signs]
    weight[5] = 0
    scaled = apply("mul", a, broadcast_to(reshape(w, (90, 1)), (90, 33)))
    value = einsum("ki,kj->ij", a, a if signs == "none" else scaled)
    arrays = [RNG.normal(size=(90, 33)).astype(dtype), weight.astype(dtype)]
    program = program_of([a, w], value, transpose(value, (1, 0)))
    got, kernel = run_compiled(program, arrays)
    assert "syrk" in str(kernel.plan)
    expected = arrays[0].T @ ((arrays[1][:, None] if signs != "none" else 1) * arrays[0])
    np.testing.assert_allclose(got[0], expected, rtol=1e-11 if dtype == np.float64 else 1e-3, atol=1e-4)
    np.testing.assert_array_equal(got[0], got[0].T)


@pytest.mark.parametrize("text, shapes", [
    ("ki,kj,kl,kl,kl->ij", [(50, 60), (50, 60), *[(50, 7)] * 3]),
    ("ki,kj,kl,km,kn->ij", [(50, 60), (50, 60), *[(50, 7)] * 3]),
    ("ki,kj,lm,lk,mk->ij", [(50, 60), (50, 60), (6, 7), (6, 50), (7, 50)]),
    ("ki,kj,kab,kac,kb,kc->ij", [(50, 60), (50, 60), *[(50, 40, 30)] * 2, *[(50, 30)] * 2]),
])
def test_weights_of_symmetric_products_are_contractions(text, shapes):
    a, *weights = nodes = [input_node(f"a{k}", s) for k, s in enumerate(shapes) if k]
    arrays = [RNG.normal(size=x.shape) for x in nodes]
    (got,) = agree(program_of(nodes, einsum(text, a, a, *weights)), arrays, rtol=1e-10)
    expected = np.einsum(text, arrays[0], *arrays, optimize=True)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


# -- writes --------------------------------------------------------------------------------------------------------


def test_plain_and_accumulating_writes_in_one_buffer():
    x = input_node("x", (50,))
    square, cube = apply("mul", x, x), apply("exp", x)
    diagonal = affine_map((50,), 0, {0: 51})
    upper = affine_map((49,), 1, {0: 51})
    shifted = affine_map((49,), 51, {0: 51})
    writes = (Write(square, diagonal), Write(slice_axis(cube, 0, 0, 1, 49), upper),
              Write(slice_axis(cube, 0, 1, 1, 49), shifted, accumulate=True),
              Write(sum_over(x, [0]), affine_map((), 0, {}), accumulate=True))
    a = RNG.random(50)
    (got,) = agree(Program((x,), (Buffer((50, 50), np.dtype(float), writes, zero=True),)), [a])
    expected = np.diag(a * a) + np.diag(np.exp(a[:-1]), 1) + np.diag(np.r_[0, np.exp(a[1:])])
    expected[0, 0] += a.sum()
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_mirrored_buffers(triangle):
    x, values = input_node("x", (2, 70, 70)), RNG.random((2, 70, 70))
    write = Write(apply("sin", x), ravel_maps(identity_maps(x.shape), x.shape, x.shape))
    (got,) = agree(Program((x,), (Buffer(x.shape, np.dtype(float), (write,), mirror=triangle),)), [values])
    np.testing.assert_array_equal(got, got.transpose(0, 2, 1))
    i, j = np.tril_indices(70) if triangle == "lower" else np.triu_indices(70)
    np.testing.assert_allclose(got[:, i, j], np.sin(values[:, i, j]), rtol=1e-14)


def test_writes_through_tables():
    x = input_node("x", (20,))
    order = RNG.permutation(20)
    write = Write(apply("sqrt", x), table_map(order, (20,)))
    (got,) = agree(Program((x,), (Buffer((4, 5), np.dtype(float), (write,)),)), [RNG.random(20)])
    assert got.shape == (4, 5)


@pytest.mark.parametrize("n", [24, 500, 1537])
@pytest.mark.parametrize("how", ["strided", "table", "both", "one row of many"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scattered_stores_leave_the_vector_loop(n, how, dtype):
    """Values to scattered places go through rows; stretches of long loops, the last one shorter, included."""
    x = input_node("x", (3, n) if how == "one row of many" else (n,), dtype)
    y = apply("add", apply("mul", apply("sqrt", apply("abs", x)), x), const(1.5, dtype))
    z = apply("mul", apply("sub", y, x), y)
    places = table_map(RNG.permutation(3 * n)[:n], (n,))
    strided = affine_map((n,), 1, {0: 3})
    positions = {"strided": [strided, strided.shifted(1)], "table": [places, places],
                 "both": [places, strided],
                 "one row of many": [affine_map((3, n), 2, {0: 5 * n, 1: 5}), affine_map((3, n), 1, {0: 5 * n, 1: 5})]}
    writes = tuple(Write(v, m, accumulate=True) for v, m in zip((y, z), positions[how]))
    program = Program((x,), (Buffer((15 * n + 3,), np.dtype(dtype), writes, zero=True),))
    (out,) = agree(program, [RNG.normal(size=x.shape)], rtol=1e-12 if dtype == np.float64 else 1e-5)
    assert np.count_nonzero(out)
    assert "one_by_one" in compile_program(program).source


def test_what_follows_elementwise_is_computed_in_the_same_loop():
    x, m = input_node("x", (50,)), input_node("m", (50, 50))
    costly = apply("exp", apply("sin", x))
    doubled = apply("exp", apply("mul", costly, const(2.0)))
    program = program_of([x, m], matmul(m, costly), matmul(m, doubled), sum_over(apply("mul", costly, doubled), [0]))
    agree(program, [RNG.normal(size=50), RNG.normal(size=(50, 50))])
    first, *others = [s for s in compile_program(program).plan.steps if "nest 50:" in str(s)]
    assert [v.op.name for v, *_ in first.items] == ["exp", "exp"]
    assert not any(v.op.name == "exp" for s in others for v, *_ in s.items)


def test_what_is_read_elsewhere_waits_for_the_whole_array():
    x = input_node("x", (50,))
    costly = apply("exp", apply("sin", x))
    turned = index(costly, [affine_map((50,), 49, {0: -1})], (50,))
    agree(program_of([x], costly, apply("mul", costly, turned), apply("exp", apply("mul", turned, x))),
          [RNG.normal(size=50)])


@pytest.mark.parametrize("power", [-3, -1, 3, 5, 7, 32, 33, 2.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_powers(power, dtype):
    x = input_node("x", (6,), dtype)
    agree(program_of([x], apply("pow", x, const(power, dtype))), [[0.5, 1.25, 1.0, 2.0, 1.5, 0.75]],
          rtol=1e-14 if dtype == np.float64 else 1e-5)


def test_empty_and_single_element_arrays():
    x, e = input_node("x", (1, 1)), input_node("e", (0, 3))
    program = program_of([x, e], apply("exp", x), apply("exp", e), sum_over(e, [0]), sum_over(x, [0, 1]),
                         const(np.arange(3.0)), const(2.5))
    got = agree(program, [RNG.random((1, 1)), np.zeros((0, 3))])
    assert got[1].shape == (0, 3) and got[2].tolist() == [0, 0, 0]


def test_large_constants_are_not_inlined():
    big = RNG.random(100_000)
    x = input_node("x", (100_000,))
    program = program_of([x], apply("mul", x, const(big)), gather_axis(x, 0, RNG.permutation(100_000)))
    arrays = [RNG.random(100_000)]
    _, kernel = run_compiled(program, arrays)
    assert len(kernel.source) < 3000
    agree(program, arrays)


def test_stencils_of_stencils_stay_small():
    x = input_node("x", (400,))
    v = x
    for _ in range(12):
        n = v.shape[0]
        left, middle, right = (slice_axis(v, 0, k, 1, n - 2) for k in range(3))
        v = apply("add", apply("mul", left, right), apply("mul", middle, middle))
    a = RNG.random(400) * 0.5
    program = program_of([x], v)
    _, kernel = run_compiled(program, [a])
    assert len(kernel.source.splitlines()) < 400
    agree(program, [a])


def cached_program():
    x = input_node("x", (7,))
    return program_of([x], gather_axis(apply("exp", x), 0, np.array([3, 1, 4, 1, 5])))


def parallel_program():
    x = input_node("x", (1000, 1000))
    return program_of([x], sum_over(apply("exp", x), [1]))


SCRIPT = """
import sys, numpy as np
sys.path.insert(0, {here!r})
from test_lowering import parallel_program
from symhess.backends import threads
from symhess.backends.cpu import compile_program
from symhess.plan.options import Options
threads.thread_count = lambda: 2
kernel = compile_program(parallel_program(), Options(cache={cache!r}, parallel=True))
out = np.empty(1000)
kernel.entry(np.zeros((1000, 1000)), out)
print(sum(kernel.entry.kernel.stats.cache_hits.values()), out.tolist())
"""


def test_cache_is_used_by_another_process(tmp_path):
    script = SCRIPT.format(here=str(Path(__file__).parent), cache=str(tmp_path))
    for hits in (0, 1):
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        count, values = found.split(" ", 1)
        assert int(count) == hits
        np.testing.assert_allclose(ast.literal_eval(values), 1000.0)


def test_unusable_cache_warns_and_compiles(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.warns(SymhessWarning, match="cannot be used"):
        outputs, _ = run_compiled(cached_program(), [np.arange(7.0)], Options(cache=str(blocked)))
    np.testing.assert_allclose(outputs[0], np.exp([3.0, 1, 4, 1, 5]))


def test_damaged_cache_files_are_survived(tmp_path):
    script = SCRIPT.format(here=str(Path(__file__).parent), cache=str(tmp_path))
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    for path in tmp_path.rglob("*.*"):
        if path.suffix in (".nbi", ".nbc", ".py"):
            path.write_bytes(b"rubbish")
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(ast.literal_eval(found.stdout.split(" ", 1)[1]), 1000.0)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has huge pages")
def test_large_workspaces_have_huge_pages():
    x = input_node("x", (600_000,))
    y = apply("exp", x)
    program = program_of([x], apply("mul", y, index(y, identity_maps((600_000,)), (600_000,))),
                         sum_over(slice_axis(apply("sin", y), 0, 1, 1, 599_998), [0]), cumsum(y, 0))
    arrays = [RNG.random(600_000)]
    outputs, kernel = run_compiled(program, arrays)
    assert "huge_pages(work)" in kernel.source
    for got, expected in zip(outputs, run_program(program, arrays)):
        np.testing.assert_allclose(got, expected, rtol=1e-9)


# -- scalar-heavy programs -----------------------------------------------------------------------------------------


def test_thousands_of_scalar_statements():
    x, s = input_node("x", (40,)), input_node("s", ())
    total = apply("exp", s)
    parts = [element(x, (k,)) for k in range(40)]
    pairs = []
    for i in range(40):
        for j in range(i):
            d = apply("sub", parts[i], parts[j])
            pairs.append(apply("mul", d, apply("sin", apply("mul", d, total))))
            total = apply("add", total, pairs[-1])
    vector = stack(pairs)
    length = sum_over(apply("mul", vector, vector), [0])
    second = [apply("tanh", apply("mul", length, p)) for p in pairs]
    writes = tuple(Write(p, affine_map((), 3 * k, {})) for k, p in enumerate(second))
    again = tuple(Write(p, affine_map((), 3 * k, {}), accumulate=True) for k, p in enumerate(pairs[:500]))
    buffer = Buffer((3 * len(pairs),), np.dtype(float), writes + again, zero=True)
    program = Program((x, s), (buffer, whole(total), whole(vector), whole(length)))
    arrays = [RNG.random(40), np.array(0.3)]
    _, kernel = run_compiled(program, arrays)
    assert str(kernel.plan).count("straight-line code") == 2
    agree(program, arrays, rtol=1e-9)


# -- random graphs -------------------------------------------------------------------------------------------------


UNARY = ("neg", "sin", "tanh", "sigmoid", "abs")
BINARY = ("add", "sub", "mul", "maximum")


def grow(draw, inputs, steps):
    """A list of nodes, each made from earlier ones by a random operation."""
    nodes = list(inputs)
    for _ in range(steps):
        v = draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(("unary", "binary", "move", "reduce", "scatter", "product", "cumsum", "where")))
        nodes.append(GROW[kind](draw, nodes, v))
    return nodes[len(inputs):]


def partner(draw, nodes, v):
    """A node that broadcasts against v."""
    fits = [u for u in nodes if u.ndim in (0, v.ndim) and all(n in (1, m) for n, m in zip(u.shape, v.shape))]
    return draw(st.sampled_from(fits)) if fits else const(draw(st.floats(-2, 2)))


def grow_move(draw, nodes, v):
    if v.ndim == 0:
        return broadcast_to(v, (2, 3))
    axis = draw(st.integers(0, v.ndim - 1))
    n = v.shape[axis]
    kind = draw(st.sampled_from(("slice", "flip", "gather", "transpose", "reshape", "keepdims", "flat")))
    if kind == "slice":
        return slice_axis(v, axis, n - 1 if n == 1 else 1, 1, max(n - 1, 1)) if n > 1 else v
    if kind == "flip":
        return slice_axis(v, axis, n - 1, -1, n)
    if kind == "gather":
        return gather_axis(v, axis, np.array(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))))
    if kind == "transpose":
        return transpose(v, tuple(reversed(range(v.ndim))))
    if kind == "keepdims":
        return reshape(reduce_with("sum", v, [axis]), [1 if d == axis else m for d, m in enumerate(v.shape)])
    return reshape(v, (v.size,)) if kind == "flat" else reshape(v, (v.shape[-1], v.size // v.shape[-1]))


def grow_scatter(draw, nodes, v):
    if v.ndim == 0:
        return stack([v, apply("neg", v), v])
    axis = draw(st.integers(0, v.ndim - 1))
    n, maps = v.shape[axis], list(identity_maps(v.shape))
    if draw(st.booleans()):
        maps[axis] = maps[axis].shifted(draw(st.integers(0, 2)))
    else:
        targets = np.array(draw(st.lists(st.integers(0, n + 1), min_size=n, max_size=n)))
        maps[axis] = table_map(targets.reshape([-1 if d == axis else 1 for d in range(v.ndim)]), v.shape)
    return scatter(v, maps, [m + 2 if d == axis else m for d, m in enumerate(v.shape)])


def grow_product(draw, nodes, v):
    u = draw(st.sampled_from(nodes))
    if v.ndim != 2 or u.ndim != 2:
        return apply("mul", v, v)
    if v.shape[1] == u.shape[0]:
        return matmul(v, u)
    return contract([(v, (0, 1)), (v, (0, 2))], (1, 2), {0: v.shape[0], 1: v.shape[1], 2: v.shape[1]})


GROW = {
    "unary": lambda draw, nodes, v: apply(draw(st.sampled_from(UNARY)), v),
    "binary": lambda draw, nodes, v: apply(draw(st.sampled_from(BINARY)), v, partner(draw, nodes, v)),
    "move": grow_move,
    "reduce": lambda draw, nodes, v: reduce_with(draw(st.sampled_from(("sum", "max", "min"))), v,
                                                 draw(st.sets(st.integers(0, v.ndim - 1))) if v.ndim else ()),
    "scatter": grow_scatter,
    "product": grow_product,
    "cumsum": lambda draw, nodes, v: cumsum(v, v.ndim - 1, draw(st.booleans())) if v.ndim else apply("sin", v),
    "where": lambda draw, nodes, v: apply("where", apply("less", v, const(0.3)), apply("sin", v), v),
}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_random_graphs(data):
    shapes = data.draw(st.sampled_from([((3, 4), (4, 3), ()), ((5,), (1, 5), (2, 1)), ((2, 3, 2), (3,), (12,))]))
    inputs = [input_node(f"x{k}", s) for k, s in enumerate(shapes)]
    nodes = grow(data.draw, inputs, data.draw(st.integers(4, 14)))
    chosen = [v for v in dict.fromkeys([*nodes[-2:], data.draw(st.sampled_from(nodes))]) if v.size < 5000]
    arrays = [np.random.default_rng(k).normal(size=s) for k, s in enumerate(shapes)]
    agree(program_of(inputs, *(apply("tanh", v) if v.dtype.kind == "f" else v for v in chosen)), arrays, rtol=1e-8)


def test_position_maps_of_a_whole_buffer():
    x = input_node("x", (3, 4))
    assert whole(x).writes[0].position == ravel_maps(identity_maps((3, 4)), (3, 4), (3, 4))


@pytest.mark.parametrize("places", [[1, 2, 3, 0], [2, 0, 2, 1], [3, 2, 1, 0], [0, 0, 1, 1]])
def test_what_is_scattered_is_read_when_all_of_it_is_there(places):
    """The loop that scatters writes other elements than those of its iteration."""
    x = input_node("x", (4,))
    moved = scatter(apply("sin", x), [table_map(np.array(places), (4,))], (4,))
    given = np.linspace(0.3, 1.1, 4)
    expected = np.zeros(4)
    np.add.at(expected, places, np.sin(given))
    (got,) = agree(program_of([x], apply("mul", moved, apply("cos", x))), [given])
    np.testing.assert_allclose(got, expected * np.cos(given), rtol=1e-14)

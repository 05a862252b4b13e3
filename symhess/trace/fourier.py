"""Fourier, cosine and sine transforms: np.fft, scipy.fft and convolutions of scipy.signal, by one primitive."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.graph.maps import constant_map, identity_maps
from symhess.graph.node import Node
from symhess.primitives import concatenate, dft, index, reshape, scatter
from symhess.trace.complex_rules import RULES as COMPLEX_RULES
from symhess.trace.complex_tracer import as_complex, is_complex, pair, parts
from symhess.trace.functions import call, finished, implements, unsupported
from symhess.trace.reductions import axes_of
from symhess.trace.session import here
from symhess.trace.shaping import as_movement, traced
from symhess.trace.ufuncs import as_operand

Rule = Callable[..., Any]


def rule_of(*functions: Callable) -> Callable[[Rule], Rule]:
    """Enter a rule for real and for complex arguments."""
    def enter(rule: Rule) -> Rule:
        made = implements(*functions)(rule)
        COMPLEX_RULES.update(dict.fromkeys(functions, made))
        return made

    return enter


def _numbers(a: Any) -> Any:
    """The argument as a traced complex array of floating-point parts."""
    z = as_complex(as_operand(a))
    if not z.ndim:
        raise ValueError(f"a Fourier transform of a number: an array is needed{here()}")
    return z


def _resized(z: Any, n: int | None, axis: int) -> Any:
    """z with n entries along the axis: cut off, or zeros added."""
    have = z.shape[axis]
    n = have if n is None else int(n)
    if n < 1:
        raise ValueError(f"Invalid number of data points ({n}) specified{here()}.")
    if n <= have:
        return z if n == have else z[(*(slice(None),) * axis, slice(n))]
    return np.pad(z, [(0, n - have if d == axis else 0) for d in range(z.ndim)])


def _transformed(z: Any, axis: int, inverse: bool) -> Any:
    """The transform along one axis, not normalised."""
    z = np.moveaxis(z, axis, -1)
    shape = (*z.shape, 1)
    packed = dft(concatenate([reshape(z.re.node, shape), reshape(z.im.node, shape)], z.ndim), inverse)
    return np.moveaxis(pair(*(finished(_part(packed, k)) for k in (0, 1))), -1, axis)


def _part(packed: Node, k: int) -> Node:
    """The real (0) or imaginary (1) parts."""
    box = packed.shape[:-1]
    return index(packed, (*identity_maps(box), constant_map(box, k)), box)


def _factor(n: int, norm: str | None, inverse: bool) -> float:
    """What the sum is multiplied by."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward"{here()}.')
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") != inverse else 1.0


def transform(a: Any, n: Any = None, axis: int = -1, norm: Any = None, inverse: bool = False) -> Any:
    """u_k = c sum_j exp(-+ 2 pi i j k / n) a_j along one axis."""
    z = _numbers(a)
    axis = axes_of(axis, z.ndim)[0]
    z = _resized(z, n, axis)
    factor = _factor(z.shape[axis], norm, inverse)
    found = _transformed(z, axis, inverse)
    return found if factor == 1 else found * factor


def half_transform(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """The transform of real numbers: the frequencies from 0 to n // 2."""
    v = _real(a)
    axis = axes_of(axis, v.ndim)[0]
    found = transform(v, n, axis, norm)
    return found[(*(slice(None),) * axis, slice(found.shape[axis] // 2 + 1))]


def _real(a: Any) -> Any:
    re, im = parts(as_operand(a))
    if type(im) is not float:
        raise TypeError(f"a transform of real numbers was given complex ones{here()}")
    return traced(re)


def from_half(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """The real numbers whose transform begins with a; a_0 and, for even n, a_(n/2) count as real."""
    z = _numbers(a)
    axis = axes_of(axis, z.ndim)[0]
    n = 2 * (z.shape[axis] - 1) if n is None else int(n)
    z = np.moveaxis(_resized(z, n // 2 + 1 if n > 0 else n, axis), axis, -1)
    places = np.arange(n)
    mirrored = np.minimum(places, n - places)
    sign = np.sign(n - 2.0 * places) * (places > 0)
    whole = pair(z.re[..., mirrored], z.im[..., mirrored] * sign.astype(z.re.dtype))
    return np.moveaxis(transform(whole, None, -1, norm, True).real, -1, axis)


def _axes(a: Any, s: Any, axes: Any, default: Any) -> list[tuple[int, Any]]:
    """The axes of a transform of several, each with its length or None."""
    rank = np.ndim(a)
    axes = default if axes is None else axes
    axes = range(0 if s is None else rank - len(s), rank) if axes is None else axes
    found = [axes_of(int(k), rank)[0] for k in axes]
    lengths = [None] * len(found) if s is None else [None if n is None or n == -1 else n for n in s]
    if len(lengths) != len(found):
        raise ValueError(f"Shape and axes have different lengths{here()}.")
    return list(zip(found, lengths))


def _several(inverse: bool, default: Any) -> Rule:
    def rule(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
        for axis, n in reversed(_axes(a, s, axes, default)):
            a = transform(a, n, axis, norm, inverse)
        return a

    return rule


def _several_half(default: Any) -> Rule:
    def rule(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
        *others, (last, n) = _axes(a, s, axes, default)
        a = half_transform(a, n, last, norm)
        for axis, k in reversed(others):
            a = transform(a, k, axis, norm)
        return a

    return rule


def _several_from_half(default: Any) -> Rule:
    def rule(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
        *others, (last, n) = _axes(a, s, axes, default)
        for axis, k in others:
            a = transform(a, k, axis, norm, True)
        return from_half(a, n, last, norm)

    return rule


_SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def hermitian(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """hfft: the transform of Hermitian numbers, given by their first half."""
    return from_half(np.conjugate(traced(a)), n, axis, _SWAPPED.get(norm, norm))


def inverse_hermitian(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    return np.conjugate(half_transform(a, n, axis, _SWAPPED.get(norm, norm)))


def _one(function: Rule, **fixed: Any) -> Rule:
    """A rule with the arguments that NumPy and SciPy have in common."""
    def rule(a: Any, n: Any = None, axis: int = -1, norm: Any = None, *unused: Any, **options: Any) -> Any:
        return function(a, n, axis, norm, **fixed)

    return rule


#: transforms by name
TRANSFORMS: dict[str, Rule] = {
    "fft": _one(transform), "ifft": _one(transform, inverse=True), "rfft": _one(half_transform),
    "irfft": _one(from_half), "hfft": _one(hermitian), "ihfft": _one(inverse_hermitian),
    "fft2": _several(False, (-2, -1)), "ifft2": _several(True, (-2, -1)), "fftn": _several(False, None),
    "ifftn": _several(True, None), "rfft2": _several_half((-2, -1)), "rfftn": _several_half(None),
    "irfft2": _several_from_half((-2, -1)), "irfftn": _several_from_half(None),
}
for _name, _rule in TRANSFORMS.items():
    rule_of(getattr(np.fft, _name))(_rule)


as_movement(np.fft.fftshift)
as_movement(np.fft.ifftshift)


# -- cosine and sine transforms ------------------------------------------------------------------------------------


def _trigonometric(x: Any, kind: int, n: Any, axis: int, norm: Any, sine: bool) -> Any:
    """2 sum_j w_j x_j cos (or sin) of 2 pi p_j q_k / N: parts of a Fourier transform with x_j at place p_j of N."""
    v = _real(x)
    v = v if v.dtype.kind == "f" else v.astype(float)
    axis = axes_of(axis, v.ndim)[0]
    v = np.moveaxis(_resized(v, n, axis), axis, -1)
    n = v.shape[-1]
    whole, odd = (int(sine), 1), (1, 2)  # first place and step
    p, q = {1: (whole, whole), 2: (odd, whole), 3: (whole, odd), 4: (odd, odd)}[kind]
    period = _period(n, kind, sine)
    before, after = _weights(n, kind, norm, sine)
    weighted = (v * before.astype(v.dtype)).node
    maps = list(identity_maps(weighted.shape))
    maps[-1] = maps[-1].scaled(p[1]).shifted(p[0])
    found = transform(finished(scatter(weighted, maps, (*v.shape[:-1], (1, 1, 2, 2, 4)[kind] * period))))
    picked = (-found.imag if sine else found.real)[..., q[0]:q[0] + q[1] * n:q[1]]
    return np.moveaxis(picked * after.astype(v.dtype), -1, axis)


def _period(n: int, kind: int, sine: bool) -> int:
    """The number that transforms there and back multiply by."""
    period = 2 * n if kind > 1 else 2 * (n + 1) if sine else 2 * (n - 1)
    if period < 1:
        raise ValueError(f"DCT-I is not defined for size < 2{here()}")
    return period


#: (kind, sine) -> the places where a cosine or sine is +-1 for every frequency, and counts half
_ENDS = {(1, False): [0, -1], (2, False): [0], (3, False): [0], (2, True): [-1], (3, True): [-1]}


def _weights(n: int, kind: int, norm: Any, sine: bool) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the arguments and of the results, in SciPy's conventions."""
    ends = _ENDS.get((kind, sine), [])
    before, after = np.full(n, 2.0), np.ones(n)
    if kind != 2:
        before[ends] /= 2
    if norm == "ortho":
        after /= math.sqrt(_period(n, kind, sine))
        before[ends] *= math.sqrt(2) if kind != 2 else 1
        after[ends] /= math.sqrt(2) if kind != 3 else 1
    elif norm == "forward":
        after /= _period(n, kind, sine)
    return before, after


def _cosine(sine: bool, inverse: bool) -> Rule:
    def rule(x: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False,
             workers: Any = None, orthogonalize: Any = None) -> Any:
        if orthogonalize is not None and orthogonalize != (norm == "ortho"):
            raise unsupported("cosine or sine transform with orthogonalize=")
        if inverse:
            type, norm = {2: 3, 3: 2}.get(type, type), _SWAPPED.get(norm, norm)
        return _trigonometric(x, type, n, axis, norm, sine)

    return rule


# -- convolutions --------------------------------------------------------------------------------------------------

#: products up to which a convolution of vectors is summed up directly
DIRECT = 1 << 16


def convolve(in1: Any, in2: Any, mode: str = "full", *unused: Any, **options: Any) -> Any:
    """scipy.signal.convolve: of vectors by its sum where that is short, else as a product of transforms."""
    a, b = traced(in1), traced(in2)
    if a.ndim != b.ndim or options.get("axes") is not None:
        raise ValueError(f"in1 and in2 should have the same dimensionality, and axes=None{here()}")
    if mode == "valid" and any(m < n for m, n in zip(a.shape, b.shape)):
        a, b = b, a
    if a.ndim == 1 and a.size * b.size <= DIRECT:
        whole = call(np.convolve, a, b, "full")
    else:
        shape = [m + n - 1 for m, n in zip(a.shape, b.shape)]
        whole = np.fft.ifftn(np.fft.fftn(a, shape) * np.fft.fftn(b, shape))
        whole = whole if is_complex([a, b]) else whole.real
    if mode == "full":
        return whole
    sizes = a.shape if mode == "same" else [m - n + 1 for m, n in zip(a.shape, b.shape)]
    starts = [(n - k) // 2 for n, k in zip(whole.shape, sizes)]
    return whole[tuple(slice(start, start + k) for start, k in zip(starts, sizes))]


SCIPY: dict[str, dict[str, Rule]] = {
    "fft": {**TRANSFORMS, "dct": _cosine(False, False), "idct": _cosine(False, True), "dst": _cosine(True, False),
            "idst": _cosine(True, True), "fftshift": np.fft.fftshift, "ifftshift": np.fft.ifftshift},
    "signal": dict.fromkeys(("convolve", "fftconvolve", "oaconvolve"), convolve),
}

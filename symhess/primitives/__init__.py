"""The primitives of symhess, and the constructors that make graph nodes from them."""

from symhess.primitives import functions as _functions  # declares the elementwise table
from symhess.primitives import special as _special  # the rest of it
from symhess.primitives.algebra import is_zero, zeros
from symhess.primitives.casting import CAST, cast
from symhess.primitives.contraction import CONTRACT, contract, einsum, matmul
from symhess.primitives.dynamic import PUT_ADD, TAKE, put_add, take
from symhess.primitives.elementwise import ELEMENTWISE, Elementwise, apply, expand_to, scale
from symhess.primitives.fourier import DFT, dft
from symhess.primitives.linalg import cho_solve, cholesky, det, inv, slogdet, solve, triangular_solve
from symhess.primitives.movement import (
    INDEX,
    RESHAPE,
    SCATTER,
    STACK,
    broadcast_to,
    concatenate,
    element,
    gather_axis,
    index,
    reshape,
    scatter,
    slice_axis,
    stack,
    transpose,
)
from symhess.primitives.recurrences import RECURRENCE, RUNNING, cumulative_product, product_over, recurrence, running
from symhess.primitives.reduction import (
    CUMSUM,
    MAX,
    MIN,
    SUM,
    cumsum,
    reduce_with,
    sum_over,
)

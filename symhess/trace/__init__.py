"""Tracing: plain NumPy code becomes a graph."""

from symhess.trace import (
    composites,
    construction,
    functions,
    linalg,
    missing,
    ordering,
    reductions,
    shaping,
    special,
    ufuncs,
)
from symhess.trace.session import Guard, Session
from symhess.trace.tracer import Tracer, is_traced, node_of, wrap
from symhess.trace.tracing import Traced, trace

"""Structured tangents: Jacobians whose non-zero pattern and product form are known at compile time."""

from symhess.structure.propagate import tangents
from symhess.structure.term import Tangent, Term, coefficient, within_columns

"""Differentiation of graphs: gradient (reverse), pushforward (forward), and batching over a leading axis."""

from symhess.differentiate.batch import batch
from symhess.differentiate.gradient import gradient, pullback
from symhess.differentiate.pushforward import pushforward

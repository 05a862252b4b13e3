"""Rewrites of whole graphs before differentiation."""

from symhess.simplify.reroll import reroll
from symhess.simplify.stable import stabilised

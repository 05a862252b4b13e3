"""Rewrites of whole graphs before differentiation."""

from symhess.simplify.nested import with_bodies
from symhess.simplify.reroll import reroll
from symhess.simplify.stable import stabilised

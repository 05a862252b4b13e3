"""The rules of ATen operations, one module for each kind of operation, and the table that they enter."""

from symhess.torch.rules import contraction, elementwise, layers, linalg, movement
from symhess.torch.rules.table import RULES, find_rule

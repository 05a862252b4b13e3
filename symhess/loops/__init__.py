"""Loops and branches that stay loops and branches: in the graph, in every derivative, and in the kernel."""

from symhess.loops.branching import SWITCH
from symhess.loops.functions import cond, fori_loop, scan, switch, while_loop
from symhess.loops.rules import LOOP
from symhess.loops.semiseparable import SEMISEPARABLE

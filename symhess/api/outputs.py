"""What a function has to return to have a Hessian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.errors import NonScalarOutput
from symhess.graph.node import CONSTANT, Node
from symhess.primitives import cast


def as_float(output: Node, active: Sequence[Node]) -> Node:
    """The one output as a floating number; NonScalarOutput for integers and booleans, which have no derivatives.

    A constant, as by `return 0` on one branch, is as flat as `0.0`.
    """
    if output.op is CONSTANT and output.dtype.kind != "b":
        return cast(output, np.result_type(*(x.dtype for x in active)) if active else np.float64)
    if output.dtype.kind != "f":
        raise NonScalarOutput(f"the function returned a value of dtype {output.dtype}, not a float")
    return output

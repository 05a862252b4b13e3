"""cast: the same numbers with another element type."""

from __future__ import annotations

from typing import Any

import numpy as np

from symhess.graph.node import Node, Primitive, constant, make, register


def cast(v: Node, dtype: Any) -> Node:
    """v.astype(dtype); a derivative passes through casts between floating types."""
    dtype = np.dtype(dtype)
    if v.dtype == dtype:
        return v
    if v.op.name == "constant":
        return constant(v.attrs.array.astype(dtype))
    return make(CAST, (v,), dtype.str)



CAST = register(Primitive(
    "cast", lambda args, dtype: (args[0].shape, np.dtype(dtype)),
    lambda arrays, node: arrays[0].astype(node.dtype), family="elementwise",
    vjp=lambda node, g: [cast(g, node.args[0].dtype) if node.args[0].dtype.kind == "f" else None],
    jvp=lambda node, t: cast(t[0], node.dtype),
    batch=lambda node, args, added: cast(args[0], node.dtype),
))

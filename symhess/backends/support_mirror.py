"""The squares of `squares` for Numba: two intrinsics on stacks of matrices."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.typing import signature
from numba.extending import intrinsic

from symhess.backends.squares import SQUARE, mirrored, transposed


def _between_squares(change):
    """An intrinsic f(c, source, target): the square at flat position `target` becomes the changed one at `source`."""

    def build(typing_context, c, source, target):
        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            element = context.get_data_type(sig.args[0].dtype)
            vector = ir.VectorType(element, SQUARE).as_pointer()
            lead = builder.extract_value(array.shape, sig.args[0].ndim - 1)

            def row(first, r):
                place = builder.add(first, builder.mul(lead, lead.type(r)))
                return builder.bitcast(builder.gep(array.data, [place]), vector)

            def shuffle(a, b, lanes):
                mask = ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), list(lanes))
                return builder.shuffle_vector(a, b, mask)

            align = context.get_abi_sizeof(element)
            rows = [builder.load(row(args[1], r), align=align) for r in range(SQUARE)]
            for r, v in enumerate(change(shuffle, rows)):
                builder.store(v, row(args[2], r), align=align)
            return context.get_dummy_value()

        return signature(types.none, c, types.intp, types.intp), codegen

    return build


transpose_square = intrinsic(_between_squares(transposed))
mirror_square = intrinsic(_between_squares(mirrored))

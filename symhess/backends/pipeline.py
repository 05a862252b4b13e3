"""Numba's passes for generated kernels: those that look for what generated code does not contain are left out.

A kernel has no closures, no literal loops, no branches to prune and one type per variable; these passes are half of
what compiling a long kernel takes. The functions that kernels call are compiled as always.
"""

from __future__ import annotations

from numba.core import typed_passes, untyped_passes
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager


class KernelCompiler(CompilerBase):
    """The passes, in order."""

    def define_pipelines(self) -> list[PassManager]:
        """Bytecode to types to machine code."""
        passes = PassManager("symhess kernel")
        if self.state.func_ir is None:
            passes.add_pass(untyped_passes.TranslateByteCode, "analyzing bytecode")
            passes.add_pass(untyped_passes.FixupArgs, "fix up args")
        passes.add_pass(untyped_passes.IRProcessing, "processing IR")
        passes.add_pass(typed_passes.NopythonTypeInference, "nopython frontend")
        passes.add_pass(typed_passes.PreLowerStripPhis, "remove phis nodes")
        passes.passes.extend(DefaultPassBuilder.define_nopython_lowering_pipeline(self.state).passes)
        passes.finalize()
        return [passes]

"""Machine code from LLVM IR text: optimised, kept as bytes, loaded and called by address."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm

from symhess.errors import GraphError

#: modules of more lines are not searched for vectors outside of loops
MANY_LINES = 6000
#: LLVM compiles one module at a time
lock = threading.RLock()


@dataclass(frozen=True, eq=False)
class Loaded:
    """Machine code in memory; it stays there as long as this object lives."""

    engine: Any = field(repr=False)

    def address(self, symbol: str) -> int:
        """Where a function of the module begins."""
        return self.engine.get_function_address(symbol)


@functools.cache
def _target() -> llvm.Target:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def target_machine(level: int) -> llvm.TargetMachine:
    """This processor, with the code generator at an optimisation level from 0 to 3."""
    features = llvm.get_host_cpu_features().flatten()
    return _target().create_target_machine(llvm.get_host_cpu_name(), features, opt=level, jit=True)


def compiled(text: str, level: int, optimised: bool, linked: tuple[bytes, ...] = ()) -> bytes:
    """Object code for IR text together with bitcode of other modules; `optimised` runs LLVM's passes on it first."""
    with lock:
        machine = target_machine(level)
        try:
            module = llvm.parse_assembly(text)
            module.verify()
        except RuntimeError as problem:
            raise GraphError(f"LLVM does not accept generated code ({problem}); please report this, and use "
                                   'mode="autograd" meanwhile') from problem
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        for bitcode in linked:
            module.link_in(llvm.parse_bitcode(bitcode))
        if optimised:
            _optimise(module, machine, text.count("\n") < MANY_LINES)
        return machine.emit_object(module)


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, straight: bool) -> None:
    """LLVM's passes; `straight` looks for vectors in straight-line code too, which takes long in long code."""
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = straight
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)


def loaded(code: bytes) -> Loaded:
    """Object code in memory, ready to run; what it calls must be known to the linker."""
    with lock:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(0))
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return Loaded(engine)

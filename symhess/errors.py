"""The exceptions and warnings of symhess, each named after the promise that was broken."""

from __future__ import annotations


class SymhessError(Exception):
    """Base class of every error raised by symhess on purpose."""


class UnsupportedOperation(SymhessError, TypeError):
    """The traced function used an operation that symhess has no rule for."""


class NonScalarOutput(SymhessError, TypeError, RuntimeError):
    """A Hessian or gradient was asked for of a function whose output is not one number.

    A TypeError as in JAX, a RuntimeError as in PyTorch.
    """


class ShapeMismatch(SymhessError, ValueError, RuntimeError):
    """Array shapes do not fit together. A ValueError as in NumPy, a RuntimeError as in PyTorch."""


class AuxiliaryMissing(SymhessError, TypeError, ValueError):
    """With has_aux a function returns its output and something beside it. A ValueError as in MindSpore."""


class IndependentInput(SymhessError, RuntimeError):
    """A function was to depend on each of its inputs, and one of them has no influence."""


class DTypeMismatch(SymhessError, TypeError):
    """An array has an element type that the operation cannot take."""


class LeakedTracer(SymhessError, RuntimeError):
    """A traced value was used after the function that it belongs to had returned."""


class InputMutation(SymhessError, TypeError):
    """The traced function wrote into one of its inputs."""


class ConcretizationError(SymhessError, TypeError):
    """A traced value was used where Python needs a number that is known while tracing."""


class NotDifferentiable(SymhessError, TypeError):
    """A derivative was asked for of an operation that has none."""


class BudgetExceeded(SymhessError, MemoryError):
    """A result would not fit into the memory budget."""


class NotConverged(SymhessError, ArithmeticError):
    """A solver stopped without a solution, or there is none."""


class TargetUnavailable(SymhessError, RuntimeError):
    """A function is to be computed where it cannot be: a package, a compiler, a driver or a device is missing."""


class DeviceFailure(SymhessError, RuntimeError):
    """The driver of a GPU refused a call, or work on the device failed."""


class GraphError(SymhessError, AssertionError):
    """An intermediate form broke one of its own rules: a bug in symhess."""


class SymhessWarning(UserWarning):
    """Something costs the user time or memory that another way would not, or makes every result NaN."""

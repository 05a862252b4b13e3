"""Recording: what ATen operations a PyTorch function runs, on which tensors, seen below autograd.

    Record = (steps: Step*, outside: Outside*, outputs)
    Step   = (operation, arguments with values as Ref, numbers of the results, stopped, the user's line)

The function runs with its real tensors, so Python's control flow, `.item()` and shapes that depend on values mean
exactly what they mean without symhess; they are *facts* of the record, which hold for these values alone. A tensor that
no step has made comes from outside: an input, a parameter, a buffer, data. It is an input of the compiled function, so
its contents are read at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from symhess.errors import DTypeMismatch, InputMutation, UnsupportedOperation
from symhess.torch.places import Place, place

aten = torch.ops.aten

#: autograd Functions of PyTorch's own, and what does without them
INSTEAD = {
    "BackwardHookFunction": "remove the module's full backward hooks",
    "CheckpointFunction": "call checkpoint with use_reentrant=False",
}


class Ref(NamedTuple):
    """A recorded value, by number."""

    number: int


class Meta(NamedTuple):
    """What is known of a value when it is compiled."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Step(NamedTuple):
    """One operation; `stopped` where autograd did not look (detach, no_grad): a constant to derivatives.

    `past`: it writes into a tensor past autograd, which goes on with the derivative of what was there.
    """

    op: Any
    args: tuple
    kwargs: dict
    results: tuple[int | None, ...]
    stopped: bool
    place: Place
    past: bool = False


@dataclass
class Record:
    """What a function did: see the module's grammar."""

    steps: list[Step] = field(default_factory=list)
    metas: list[Meta] = field(default_factory=list)
    #: value number -> the tensor (or the float), for all that come from outside, in the order of first use
    outside: dict[int, Any] = field(default_factory=dict)
    #: numbers of the inputs that are differentiated
    active: list[int] = field(default_factory=list)
    #: those of `outside` that may change from call to call although they hold integers
    varying: set[int] = field(default_factory=set)
    #: values from outside that the function writes into: it gets a copy
    written: set[int] = field(default_factory=set)
    #: what was decided by values: (what, where)
    facts: list[tuple[str, Place]] = field(default_factory=list)
    #: random numbers were drawn: they are data
    draws: bool = False
    outputs: Any = None

    @cached_property
    def key(self) -> tuple:
        """Equal for records that compile to the same: contents of tensors do not count. For finished records."""
        steps = tuple((s.op, frozen(s.args), frozen(s.kwargs), s.results, s.stopped, s.past) for s in self.steps)
        return (steps, tuple(self.metas[k] for k in self.outside), tuple(self.outside), tuple(self.active),
                frozenset(self.written), frozen(self.outputs))


def frozen(x: Any) -> Any:
    """Arguments as something to hash, numbers that are equal but not the same kept apart."""
    kind = type(x)
    if kind is Ref or kind is int or x is None:
        return x
    if kind is float or kind is complex or kind is bool:
        return (kind, repr(x))
    if isinstance(x, list | tuple):
        return tuple(map(frozen, x))
    if kind is dict:
        return tuple((k, frozen(x[k])) for k in x)
    return x


#: operations to which a tensor gives its shape alone
FACTORIES = frozenset(getattr(getattr(aten, name), overload) for name in (
    "zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full",
    "new_empty_strided") for overload in getattr(aten, name).overloads())


#: operations whose results are random numbers, to which no derivative leads
SAMPLERS = frozenset(("rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "bernoulli",
                      "cauchy", "exponential", "geometric", "log_normal", "multinomial", "normal", "normal_functional",
                      "poisson", "uniform"))


#: operations in which a number of Python's may become an input
ARITHMETIC = frozenset(("add", "sub", "rsub", "mul", "div", "fill", "masked_fill"))


class Nature(NamedTuple):
    """What the schema of an operation says."""

    writes: tuple[str | int, ...]  # arguments that are written into
    aliases: bool                  # the result shares memory with an argument
    random: bool
    factory: bool                  # tensors give it their shapes alone
    arithmetic: bool               # its numbers may become inputs


#: by identity: operations live as long as PyTorch
_natures: dict[int, Nature] = {}
#: operations whose results share memory with their argument, which their schemas do not say
_ALSO_VIEWS = frozenset(f"aten::{name}" for name in (
    "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "_unsafe_view", "_reshape_alias"))


def nature(op: Any) -> Nature:
    """The nature of an operation, looked up once."""
    found = _natures.get(id(op))
    if found is None:
        schema = op._schema
        writes = tuple(a.name if a.kwarg_only else k for k, a in enumerate(schema.arguments)
                       if a.alias_info is not None and a.alias_info.is_write)
        aliases = any(a.alias_info is not None for a in schema.arguments) or schema.name in _ALSO_VIEWS
        found = _natures[id(op)] = Nature(writes, aliases, torch.Tag.nondeterministic_seeded in op.tags,
                                          op in FACTORIES, name_of(op) in ARITHMETIC)
    return found


def name_of(op: Any) -> str:
    """`add` of aten::add_, aten::add and aten::add.out."""
    name = op._schema.name.removeprefix("aten::")
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def functional(op: Any) -> Any:
    """The operation that returns what an in-place operation leaves behind; None if there is none."""
    packet = getattr(aten, name_of(op), None) if op.namespace == "aten" else None
    if packet is None or op._overloadname in packet.overloads():
        return getattr(packet, op._overloadname, None)
    types = lambda o: [str(a.type) for a in o._schema.arguments]
    return next((o for o in (getattr(packet, name) for name in packet.overloads()) if types(o) == types(op)), None)


def tensors_in(*trees: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested arguments."""
    for x in trees:
        if isinstance(x, torch.Tensor):
            yield x
        elif isinstance(x, list | tuple):
            yield from tensors_in(*x)
        elif isinstance(x, dict):
            yield from tensors_in(*x.values())


def memory(t: torch.Tensor) -> int:
    """Equal for tensors that share memory; UnsupportedOperation for tensors that are not dense."""
    if t.layout is not torch.strided or t.is_quantized:
        raise UnsupportedOperation(f"a tensor of layout {t.layout} and type {t.dtype} cannot be used{place()}; make it "
                                   "dense first (.to_dense(), .dequantize())")
    return t.untyped_storage()._cdata


def _detached_by_user() -> bool:
    """True for a `detach` that was called, False for those by which autograd keeps results for the backward pass.

    The latter do not come through the dispatcher, which would leave its marks on the thread's state.
    """
    return torch._C._dispatch_tls_is_dispatch_key_excluded(torch._C.DispatchKey.ADInplaceOrView)


class Recorder(TorchDispatchMode):
    """Runs operations and writes them down. `fold`: what does not depend on the active inputs is not written down,
    its result is an input; so is what is random, and, where `has_rule` knows no rule, what has integers as results."""

    def __init__(self, active: Sequence[torch.Tensor], has_rule: Callable[[Any], bool], fold: bool):
        super().__init__()
        self.record, self.fold, self.has_rule = Record(), fold, has_rule
        self._numbers: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []
        self._moving: set[int] = set()   # memory that depends on the active inputs
        self._silent: set[int] = set()   # values made where autograd did not look
        self._cut: set[int] = set()      # memory with such values beside others
        self._saved: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self.stopping = False            # within `.data`
        for t in active:
            number = self.outside(t)
            self.record.active.append(number)
            self._moving.add(memory(t))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: PyTorch would import its compiler, which takes seconds, to keep it away from this class."""
        return False

    # -- values ------------------------------------------------------------------------------------------------

    def number(self, t: torch.Tensor) -> int | None:
        return self._numbers.get(id(t))

    def enter(self, t: torch.Tensor) -> int:
        """A number for a new value."""
        number = self._numbers[id(t)] = len(self.record.metas)
        self._alive.append(t)
        self.record.metas.append(Meta(tuple(t.shape), t.dtype))
        return number

    def outside(self, t: torch.Tensor) -> int:
        """The number of a value that no step has made."""
        found = self._numbers.get(id(t))
        if found is not None:
            return found
        memory(t)
        number = self.enter(t)
        self.record.outside[number] = t
        return number

    def ref(self, x: Any) -> Any:
        """Arguments with numbers in place of tensors."""
        if isinstance(x, torch.Tensor):
            return Ref(self.outside(x))
        if isinstance(x, list | tuple):
            return tuple(map(self.ref, x))
        return x

    def refs(self, op: Any, args: tuple) -> tuple:
        """The arguments of an operation with numbers in place of tensors, and of factors and summands."""
        if not nature(op).arithmetic:
            return self.ref(args)
        return tuple(self.factor(x) if type(x) is float else self.ref(x) for x in args)

    def factor(self, x: float) -> Ref:
        """A number of the function's own, which may be another one in the next call."""
        number = len(self.record.metas)
        self.record.metas.append(Meta((), torch.float64))
        self.record.outside[number] = x
        return Ref(number)

    def moves(self, *trees: Any) -> bool:
        """True if there is a tensor that depends on the active inputs."""
        return any(memory(t) in self._moving for t in tensors_in(*trees))

    # -- operations --------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        rule = _SPECIAL.get(op)
        if rule is not None:
            return rule(self, op, args, kwargs)
        return self.run(op, args, kwargs)

    def run(self, op: Any, args: tuple, kwargs: dict, stopped: bool | None = None) -> Any:
        """Run an operation and note it."""
        kind = nature(op)
        if kind.writes:
            return self._written(op, kind, args, kwargs)
        result = op(*args, **kwargs)
        if not any(True for _ in tensors_in(result)):
            self.fact(f"the result of {op}")  # a truth value, say
            return result
        if self._folds(op, kind, args, kwargs, result):
            for t in tensors_in(result):
                self.outside(t)
            return result
        stopped = not torch.is_grad_enabled() if stopped is None else stopped
        self._note(op, args, kwargs, result, stopped, kind.aliases)
        return result

    def _folds(self, op: Any, kind: Nature, args: tuple, kwargs: dict, result: Any) -> bool:
        """True if the results are inputs of the compiled function, with the values they have now."""
        if kind.random and (op.name().removeprefix("aten::").split(".")[0] in SAMPLERS or not self.moves(args, kwargs)):
            self.record.draws = True
            return True
        if kind.aliases or kind.factory:
            return False
        given = list(tensors_in(args, kwargs))
        if not self.moves(given):
            if self.fold and given:
                return True
            if self.has_rule(op) or not given:
                return False
        elif self.has_rule(op) or any(t.dtype.is_floating_point or t.dtype.is_complex for t in tensors_in(result)):
            return False
        self.fact(f"the result of {op}")
        return True

    def fact(self, what: str) -> None:
        """Something holds for the values of this call alone."""
        self.record.facts.append((what, place()))

    def _note(self, op: Any, args: tuple, kwargs: dict, result: Any, stopped: bool, aliases: bool) -> None:
        self.look_for_custom_functions(args)
        moving = not nature(op).factory and self.moves(args, kwargs)
        refs, named = self.refs(op, args), {k: self.ref(v) for k, v in kwargs.items()}
        chosen = kwargs.get("positions")
        results: list[int | None] = []
        for t in (result if isinstance(result, list | tuple) else (result,)):
            if not isinstance(t, torch.Tensor) or t is chosen:
                results.append(None)
                continue
            number = self._numbers.get(id(t))
            results.append(self.enter(t) if number is None else number)
            if moving:
                self._moving.add(memory(t))
                if stopped:
                    self._silent.add(results[-1])
                    if aliases:
                        self._cut.add(memory(t))
        cut = stopped and (moving or any(t.requires_grad for t in tensors_in(args)))
        self.record.steps.append(Step(op, refs, named, tuple(results), cut, place()))

    def look_for_custom_functions(self, args: Any) -> None:
        """A result of operations that autograd did not see, with a history: it has a backward pass of the user's."""
        if self._silent:
            for t in tensors_in(args):
                if self._numbers.get(id(t)) in self._silent and t.grad_fn is not None:
                    name = type(t.grad_fn).__name__.removesuffix("Backward")
                    raise UnsupportedOperation(
                        f"torch.autograd.Function {name} has a backward pass of its own, which cannot be recorded"
                        f"{place()}; {INSTEAD.get(name, 'write the function with differentiable operations')}")

    # -- writing -----------------------------------------------------------------------------------------------

    def _written(self, op: Any, kind: Nature, args: tuple, kwargs: dict) -> Any:
        """An operation in place. What comes from outside is written into and restored when the function returns."""
        targets = [args[k] if isinstance(k, int) else kwargs.get(k) for k in kind.writes
                   if not isinstance(k, int) or k < len(args)]
        targets = [t for t in targets if t is not None]
        if len(targets) != 1 or not isinstance(targets[0], torch.Tensor):
            raise UnsupportedOperation(f"{op} writes into several tensors{place()}; use functions that return results")
        (target,) = targets
        if torch.Tag.inplace_view in op.tags:
            return self._viewed(op, target, args, kwargs)
        number = self.outside(target)
        self._protect(target)
        moving, stopped = self.moves(args, kwargs), not torch.is_grad_enabled()
        if moving and memory(target) in self._cut:
            raise UnsupportedOperation(f"{op} writes into memory that is also seen through .detach() or .data{place()}"
                                       "; make a copy first: x = x.clone()")
        past = stopped and target.requires_grad
        self.look_for_custom_functions(args)
        refs, named = self.refs(op, args), {k: self.ref(v) for k, v in kwargs.items()}
        result = op(*args, **kwargs)
        if any(t is not target for t in tensors_in(result)):
            raise UnsupportedOperation(f"{op} writes into an argument beside its result, which is not "
                                       f"recorded{place()}")
        if kind.random:
            self.record.draws = True
            with self.paused():
                drawn = target.detach().clone()
            op, refs, named = aten.copy_.default, (Ref(number), Ref(self.outside(drawn))), {}
        if moving:
            self._moving.add(memory(target))
        if stopped and moving and not past:
            self._silent.add(number)
        else:
            self._silent.discard(number)
        self.record.steps.append(Step(op, refs, named, (number,), stopped and moving, place(), past))
        return result

    def _viewed(self, op: Any, target: torch.Tensor, args: tuple, kwargs: dict) -> Any:
        """An operation that gives a tensor another shape in place: it becomes another value."""
        if self.outside(target) in self.record.outside:
            raise InputMutation(f"{op} changes the shape of a tensor from outside{place()}; use the function without "
                                "the underscore")
        refs = self.ref(args)
        result = op(*args, **kwargs)
        number = self.enter(target)
        self.record.steps.append(Step(functional(op), refs, kwargs, (number,), False, place()))
        return result

    def paused(self) -> Any:
        """A context in which nothing is recorded."""
        return torch.utils._python_dispatch._disable_current_modes()

    def _protect(self, target: torch.Tensor) -> None:
        """The values from outside in the memory of `target` are kept as they are now."""
        key = memory(target)
        owners = [k for k, t in self.record.outside.items()
                  if isinstance(t, torch.Tensor) and memory(t) == key and k not in self.record.written]
        if not owners:
            return
        if set(owners) & set(self.record.active):
            raise InputMutation(f"the function writes into a tensor that is differentiated{place()}; make a copy "
                                "first: x = x.clone()")
        if len(owners) > 1:
            raise InputMutation(f"the function writes into memory that {len(owners)} tensors from outside share"
                                f"{place()}; make a copy first: x = x.clone()")
        (owner,) = owners
        tensor = self.record.outside[owner]
        with self.paused():
            kept = tensor.detach().clone()
        self._saved.append((owner, tensor, kept))
        self.record.outside[owner] = kept
        self.record.written.add(owner)

    def restore(self) -> None:
        """Undo what the function has written into tensors from outside."""
        for owner, tensor, kept in self._saved:
            tensor.data.copy_(kept)
            self.record.outside[owner] = tensor


# -- operations of their own ---------------------------------------------------------------------------------------


def _selection(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """Elements of a tensor in an order, or by rank: those at the positions that they have now."""
    result = op(*args, **kwargs)
    x = args[0]
    named = {**{a.name: a.default_value for a in op._schema.arguments}, **kwargs}
    named |= dict(zip((a.name for a in op._schema.arguments), args))
    positions = result[1] if isinstance(result, tuple) else None
    if positions is None:
        with self.paused():
            positions = getattr(torch, name_of(op))(x.detach().reshape(-1), 0).indices
    self.fact(f"the order of elements ({op})")
    given = {"dim": named.get("dim"), "positions": positions}
    self._note(op, (x,), given, result, not torch.is_grad_enabled(), False)
    return result


def _detach(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    stopped = self.stopping or _detached_by_user() or not torch.is_grad_enabled()
    return self.run(op, args, kwargs, stopped)


def _number(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """`.item()`, a branch, an index: the value of this call."""
    self.fact(f"the value of a tensor ({op})")
    return op(*args, **kwargs)


def _batch_norm(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """Running statistics are not updated: that is not declared, so it would go unnoticed."""
    x, weight, bias, mean, var, training, *rest = args
    if training:
        with self.paused():
            mean, var = (None if t is None else t.detach().clone() for t in (mean, var))
        mean = var = None
    return self.run(aten.native_batch_norm.default, (x, weight, bias, mean, var, training, *rest), kwargs)


def _dropout(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """The mask is that of this call."""
    x, p, train = (*args, kwargs.get("train"))[:3]
    with self.paused():
        mask = op(x.detach(), p, train)[1]
    self.record.draws = True
    with self:
        return x * mask * (1 / (1 - p) if train is not False and p < 1 else 1), mask


def _masked(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """masked_select and masked_scatter: the places that a mask marks are known."""
    x, mask, *source = args
    with self:
        x, mask = torch.broadcast_tensors(x, mask)
        if not source:
            return x[mask]
        return torch.index_put(x, [mask], source[0].reshape(-1)[:int(mask.sum())])


def _indexed(self: Recorder, op: Any, args: tuple, kwargs: dict) -> Any:
    """Masks become the positions that they mark, which are known."""
    x, indices, *rest = args
    single = rest and rest[0].numel() == 1 and not any(rest[1:2])  # written into by a select
    if single or not any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return self.run(op, args, kwargs)
    places: list[Any] = []
    for i in indices:
        if i is None or i.dtype not in (torch.bool, torch.uint8):
            places.append(i)
            continue
        self.fact("the positions that a mask marks")
        with self.paused():
            places += i.nonzero(as_tuple=True)
    return self.run(op, (x, places, *rest), kwargs)


_BY_RANK = ("sort.default", "sort.stable", "topk.default", "kthvalue.default", "mode.default", "median.default",
            "median.dim", "nanmedian.default", "nanmedian.dim", "cummax.default", "cummin.default",
            "adaptive_max_pool2d.default", "adaptive_max_pool3d.default", "fractional_max_pool2d.default",
            "fractional_max_pool3d.default")
_SPECIAL: dict[Any, Callable] = {getattr(getattr(aten, packet), overload): rule for rule, names in (
    (_detach, ("detach.default",)), (_number, ("_local_scalar_dense.default",)),
    (_dropout, ("native_dropout.default",)),
    (_batch_norm, ("native_batch_norm.default", "_native_batch_norm_legit.default")),
    (_indexed, ("index.Tensor", "index_put.default", "index_put_.default", "_index_put_impl_.default")),
    (_masked, ("masked_select.default", "masked_scatter.default")), (_selection, _BY_RANK),
) for packet, overload in (name.split(".") for name in names)}


def check_float(t: torch.Tensor, what: str) -> None:
    """DTypeMismatch for what cannot be differentiated."""
    if t.dtype not in (torch.float32, torch.float64):
        how = "give real and imaginary parts" if t.dtype.is_complex else "convert it with .float() or .double()"
        raise DTypeMismatch(f"{what} has dtype {t.dtype}; Hessians are computed in torch.float32 or torch.float64, "
                            f"{how}")

"""Callables whose calls go straight to machine code, without a frame of Python's, as soon as a kernel is known.

`functools.partial` is what Python has for that: in C it hands its arguments to another callable, which can be replaced.
So these are partials for `isinstance`, with a target of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from symhess.errors import SymhessError

#: targets that are asked one after the other before everything is looked at, and all that there may ever be
CHAIN, MOST = 8, 512
Method = TypeVar("Method", bound=Callable)


class GeneralSignature:
    """`__signature__` of a `Frameless`, whose targets have none."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        import inspect

        if instance is None:  # the class has the signature of its constructor
            raise AttributeError("__signature__")
        return inspect.signature(instance._general)


class Frameless(functools.partial):
    """A callable that hands calls to a target: at first `general`, then machine code that turns to it for other calls.

    A target stays in memory as long as this object, since another thread may be running it.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls, _unready)

    def __init__(self, general: Callable):
        self._general, self._targets = general, [general]
        self._aim(general)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """No method, wherever it is kept; partials become such with Python 3.14."""
        return self

    def _aim(self, target: Callable) -> None:
        functools.partial.__setstate__(self, (target, (), {}, self.__dict__))  # type: ignore[attr-defined]

    def _add(self, make: Callable[[Callable], Callable | None]) -> None:
        """Put what `make(otherwise)` gives in front: it answers some calls, and hands the others to `otherwise`."""
        count = len(self._targets)
        if count > MOST:
            return
        otherwise = self._general if count % CHAIN == 0 else self._targets[-1]
        target = make(otherwise)
        if target is not None:
            self._targets.append(target)
            self._aim(target)


def _unready(*args: Any, **kwargs: Any) -> Any:
    raise SymhessError("the function is not initialised: __init__ of the class behind it was not called")


class Product(Frameless):
    """A method bound to its object, to call again and again; it looks like a method."""

    def __init__(self, instance: Any, method: Callable):
        functools.update_wrapper(self, method)
        self.__dict__.pop("__wrapped__")  # it takes another argument; `__signature__` says which there are
        self.name, self.__self__, self.__func__ = method.__name__, instance, method
        super().__init__(method.__get__(instance))

    def __repr__(self) -> str:
        return repr(self._general)

    def __eq__(self, other: Any) -> Any:
        return self._general == getattr(other, "_general", other)

    def __hash__(self) -> int:
        return hash(self._general)

    def __reduce__(self) -> Any:
        return (getattr, (self.__self__, self.name))

    __signature__ = GeneralSignature()


class _Descriptor:
    """What `product` makes of a method."""

    def __init__(self, method: Callable):
        self.method, self.name = method, method.__name__
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.method
        if getattr(type(instance), self.name) is not self.method:  # a subclass has a method of its own
            return self.method.__get__(instance)
        return instance.__dict__.setdefault(self.name, Product(instance, self.method))


def product(method: Method) -> Method:
    """Decorate a method: an object has one `Product` for it, made when it is first looked up."""
    return _Descriptor(method)  # type: ignore[return-value]

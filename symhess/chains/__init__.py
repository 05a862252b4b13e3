"""Recurrences that Python loops leave behind as straight-line code, turned back into loops."""

from symhess.chains.rolling import Rolled, rerolled, rolled

"""Who takes part: every peer, the library it needs, whether a person had to know the structure, and its workloads.

A peer `name` gets the function as it is, in the symbols of the library `name`; `name-variant` is the same library used
another way. *By hand* says that somebody decomposed the function, coloured its Hessian, or wrote its loops anew.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable

from .workloads import WORKLOADS

SMALL = ("rosenbrock_10", "planar_arm", "lennard_jones", "mixture")
ROWS = ("rosenbrock_rows", "decay_rows")
SPARSE = ("rosenbrock_1e5", "rosenbrock_1e6", "minimal_surface")
DENSE = ("logistic", "log_sum_exp", "factorisation", "mlp")


@dataclasses.dataclass(frozen=True)
class Peer:
    """What a worker imports first, the module of this package with its code, and the workloads it takes."""

    library: str
    module: str
    workloads: tuple[str, ...]
    by_hand: bool = False
    #: keeps compiled code on disk, so that a second process starts warm
    keeps: bool = False


PEERS = {
    "symhess": Peer("symhess", "peers_symhess", tuple(WORKLOADS), keeps=True),
    "floor": Peer("numba", "peers_floor", tuple(w for w in WORKLOADS if w != "bundle_adjustment"), by_hand=True),
    "jax": Peer("jax.numpy", "peers_jax", (*SMALL, *ROWS, *DENSE, "mlp_product", "gaussian_process"), keeps=True),
    "jax-colours": Peer("jax.numpy", "peers_jax", (*SPARSE, "bundle_adjustment"), by_hand=True, keeps=True),
    "jax-elements": Peer("jax.numpy", "peers_jax", ("bundle_adjustment",), by_hand=True, keeps=True),
}


def installed(peer: str) -> bool:
    """Is the library of a peer there?"""
    return importlib.util.find_spec(PEERS[peer].library.split(".")[0]) is not None


def libraries() -> tuple[str, ...]:
    """The names that may be chosen: libraries stand for all ways to use them."""
    return tuple(dict.fromkeys(name.split("-")[0] for name in PEERS))


def peers_of(workload: str, chosen: Iterable[str]) -> list[str]:
    """The peers of a workload among the chosen ones; `jax` chooses all ways to use it, `jax-colours` that one."""
    chosen = set(chosen)
    return [name for name, peer in PEERS.items()
            if workload in peer.workloads and (name in chosen or name.split("-")[0] in chosen)]


def reference_of(workload: str) -> list[str]:
    """The peer that others are compared with: the floor, else the first other one that is installed."""
    others = [name for name in peers_of(workload, PEERS) if name != "symhess" and installed(name)]
    return sorted(others, key=lambda name: name != "floor")[:1]

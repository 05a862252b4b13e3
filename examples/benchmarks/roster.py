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
STEPS = ("pendulum_200", "pendulum_1000", "optimal_control")
PAIRS = tuple(f"pairs_{n}" for n in (40, 60, 120, 240))
ARRAYS = (*(f"{name}_arrays" for name in PAIRS), "residuals_arrays")
#: sums of equal terms
ELEMENTS = ("mixture", "bundle_adjustment", "residuals", "power_flow")
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
    #: only where it is asked for by its name
    named_only: bool = False


PEERS = {
    "symhess": Peer("symhess", "peers_symhess", tuple(WORKLOADS), keeps=True),
    "symhess-cuda": Peer("numba_cuda", "peers_symhess", tuple(WORKLOADS), named_only=True),
    "floor": Peer("numba", "peers_floor", tuple(w for w in WORKLOADS if w != "bundle_adjustment"), by_hand=True),
    "jax": Peer("jax.numpy", "peers_jax", (*SMALL, *ROWS, *DENSE, *ARRAYS, "mlp_product", "gaussian_process"),
                keeps=True),
    "jax-colours": Peer("jax.numpy", "peers_jax", (*SPARSE, "bundle_adjustment"), by_hand=True, keeps=True),
    "jax-elements": Peer("jax.numpy", "peers_jax", ("bundle_adjustment", "power_flow"), by_hand=True, keeps=True),
    "jax-arrays": Peer("jax.numpy", "peers_jax", (*PAIRS, "residuals"), by_hand=True, keeps=True),
    "jax-loops": Peer("jax.numpy", "peers_jax", (*STEPS, "newton_root"), by_hand=True, keeps=True),
    "asdex": Peer("jax.numpy", "peers_asdex", ("minimal_surface",)),
    "torch": Peer("torch", "peers_torch", (*SMALL, "decay_rows", *DENSE, "mlp_product", "gaussian_process")),
    "torch-functional": Peer("torch", "peers_torch", ("cnn_6x6", "cnn_12x12", "newton_root")),
    "autograd": Peer("autograd", "peers_autograd", ("rosenbrock_10", "planar_arm", "newton_root", "gaussian_process")),
    "casadi": Peer("casadi", "peers_casadi", (*SMALL, *STEPS, *PAIRS, "residuals", "power_flow", "decay_rows")),
    "casadi-c": Peer("casadi", "peers_casadi",
                     ("rosenbrock_10", "planar_arm", "lennard_jones", *ROWS, "optimal_control",
                      "pairs_40", "power_flow")),
    "casadi-map": Peer("casadi", "peers_casadi", (*STEPS, "mixture", "bundle_adjustment", "residuals", "power_flow"),
                       by_hand=True),
    "heyoka": Peer("heyoka", "peers_heyoka", ("rosenbrock_10", "planar_arm", "lennard_jones", *ROWS)),
    "heyoka-elements": Peer("heyoka", "peers_heyoka", (*SPARSE, *ELEMENTS, "pairs_40", "pairs_240"), by_hand=True),
    "sympy": Peer("sympy", "peers_sympy", ("rosenbrock_10", "planar_arm", *ROWS)),
    "sympy-elements": Peer("sympy", "peers_sympy",
                           (*SPARSE, "mixture", "residuals", "power_flow", "pairs_40", "pairs_240"), by_hand=True),
    "symengine": Peer("symengine", "peers_symengine", ("rosenbrock_10", "planar_arm", *ROWS)),
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
            if workload in peer.workloads
            and (name in chosen or (name.split("-")[0] in chosen and not peer.named_only))]


def reference_of(workload: str) -> list[str]:
    """The peer that others are compared with: the floor, else the first other one that is installed."""
    others = [name for name in peers_of(workload, PEERS) if name != "symhess" and installed(name)]
    return sorted(others, key=lambda name: name != "floor")[:1]

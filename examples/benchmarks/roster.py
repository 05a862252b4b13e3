"""Who takes part: every peer, the library it needs, whether a person had to know the structure, and its workloads.

A peer `name` gets the function as it is, in the symbols of the library `name`; `name-variant` is the same library used
another way, `name-cuda` and `name-cuda-variant` the library on a GPU. *By hand* says that somebody decomposed the
function, coloured its Hessian, or wrote its loops anew.
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
#: what is large enough for a GPU; what takes least time in all comes first
ON_DEVICE = ("rosenbrock_rows", "minimal_surface", "rosenbrock_1e7", "cnn_12x12", "minimal_surface_4096",
             "bundle_adjustment_1e6")
LARGE_SPARSE = ("rosenbrock_1e7", "minimal_surface", "minimal_surface_4096")
#: too large for a core, or for the time that it takes there
LARGE = ("rosenbrock_1e7", "minimal_surface_4096", "bundle_adjustment_1e6")


@dataclasses.dataclass(frozen=True)
class Peer:
    """What a worker imports first, the module of this package with its code, and the workloads it takes."""

    library: str
    module: str
    workloads: tuple[str, ...]
    by_hand: bool = False
    #: keeps compiled code on disk, so that a second process starts warm
    keeps: bool = False
    #: runs on a GPU
    on_device: bool = False
    #: another library that it needs
    needs: str = ""


PEERS = {
    "symhess": Peer("symhess", "peers_symhess", tuple(WORKLOADS), keeps=True),
    "symhess-cuda": Peer("symhess", "peers_symhess", tuple(WORKLOADS), on_device=True, needs="numba_cuda"),
    "floor": Peer("numba", "peers_floor", tuple(w for w in WORKLOADS if w not in ("bundle_adjustment", *LARGE)),
                  by_hand=True),
    "jax": Peer("jax.numpy", "peers_jax", (*SMALL, *ROWS, *DENSE, *ARRAYS, "mlp_product", "gaussian_process"),
                keeps=True),
    "jax-cuda": Peer("jax.numpy", "peers_jax", (*ROWS, *DENSE, "cnn_12x12", "mlp_product", "gaussian_process"),
                     on_device=True),
    "jax-cuda-blocks": Peer("jax.numpy", "peers_jax", ("cnn_12x12",), on_device=True),
    "jax-cuda-colours": Peer("jax.numpy", "peers_jax", LARGE_SPARSE, by_hand=True, on_device=True),
    "jax-cuda-elements": Peer("jax.numpy", "peers_jax", ("minimal_surface", "rosenbrock_1e7", "bundle_adjustment_1e6"),
                              by_hand=True, on_device=True),
    "jax-colours": Peer("jax.numpy", "peers_jax", (*SPARSE, "bundle_adjustment"), by_hand=True, keeps=True),
    "jax-elements": Peer("jax.numpy", "peers_jax", ("bundle_adjustment", "power_flow"), by_hand=True, keeps=True),
    "jax-arrays": Peer("jax.numpy", "peers_jax", (*PAIRS, "residuals"), by_hand=True, keeps=True),
    "jax-loops": Peer("jax.numpy", "peers_jax", (*STEPS, "newton_root"), by_hand=True, keeps=True),
    "asdex": Peer("jax.numpy", "peers_asdex", ("minimal_surface",)),
    "torch": Peer("torch", "peers_torch", (*SMALL, "decay_rows", *DENSE, "mlp_product", "gaussian_process")),
    "torch-cuda": Peer("torch", "peers_torch", (*ROWS, *DENSE, "mlp_product", "gaussian_process"), on_device=True),
    "torch-cuda-blocks": Peer("torch", "peers_torch", ("cnn_12x12",), on_device=True),
    "torch-cuda-colours": Peer("torch", "peers_torch", LARGE_SPARSE, by_hand=True, on_device=True),
    "torch-cuda-elements": Peer("torch", "peers_torch", ("bundle_adjustment_1e6",), by_hand=True, on_device=True),
    "torch-cuda-compiled": Peer("torch", "peers_torch", ROWS, on_device=True),
    "torch-cuda-compiled-colours": Peer("torch", "peers_torch", LARGE_SPARSE, by_hand=True, on_device=True),
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
    """Are the libraries of a peer there?"""
    return not missing(peer)


def missing(peer: str) -> str:
    """The first library of a peer that is not there, if any."""
    needed = [PEERS[peer].library.split(".")[0], *filter(None, [PEERS[peer].needs])]
    return next((name for name in needed if importlib.util.find_spec(name) is None), "")


def libraries(on_device: bool = False) -> tuple[str, ...]:
    """The names that may be chosen, on the CPU or on a GPU: libraries stand for all ways to use them."""
    return tuple(dict.fromkeys(library_of(name) for name, peer in PEERS.items() if peer.on_device == on_device))


def peers_of(workload: str, chosen: Iterable[str]) -> list[str]:
    """The peers of a workload among the chosen ones; `jax` chooses all ways to use it on the CPU, `jax-colours` that
    one, and `jax-cuda` all ways on a GPU."""
    chosen = set(chosen)
    return [name for name, peer in PEERS.items()
            if workload in peer.workloads and (name in chosen or library_of(name) in chosen)]


def library_of(peer: str) -> str:
    """What stands for all ways to use a library: its name, with `-cuda` on a GPU."""
    return peer.split("-")[0] + ("-cuda" if PEERS[peer].on_device else "")


def reference_of(workload: str) -> list[str]:
    """The peer that others are compared with: the floor, else the first other one of the CPU that is installed."""
    others = [name for name in peers_of(workload, PEERS)
              if name != "symhess" and not PEERS[name].on_device and installed(name)]
    return sorted(others, key=lambda name: name != "floor")[:1]

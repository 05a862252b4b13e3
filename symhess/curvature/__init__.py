"""Curvature of a function at a point: what one wants of a large Hessian, without forming it, and the Hessian in pieces.

    Curvature           eigenpairs, trace, diagonal, norms, spectral density, condition number, rows and blocks
    gauss_newton        the same of the Gauss-Newton matrix of a loss of a model's outputs
    Report              all of it at a glance, as text and as a picture
"""

from symhess.curvature.density import Density
from symhess.curvature.gauss_newton import gauss_newton
from symhess.curvature.point import Curvature
from symhess.curvature.report import Report

__all__ = ["Curvature", "Density", "Report", "gauss_newton"]

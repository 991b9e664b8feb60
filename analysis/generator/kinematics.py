"""Relativistic kinematics on arrays of four-vectors.

A four-vector array has the shape ``(4, ...)`` with the components (px, py, pz, E) in GeV first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]


def from_pt_eta_phi_mass(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray | float) -> FloatArray:
    """Four-vectors from detector coordinates.

    Args:
        pt: transverse momentum [GeV], shape ``(...)``.
        eta: pseudorapidity.
        phi: azimuth.
        mass: mass [GeV].

    Returns:
        Four-vectors, shape ``(4, ...)``.
    """
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.stack([px, py, pz, np.sqrt(px * px + py * py + pz * pz + mass * mass)])


def from_pt_rapidity_phi_mass(pt: FloatArray, rapidity: FloatArray, phi: FloatArray, mass: FloatArray) -> FloatArray:
    """Four-vectors from transverse momentum, rapidity, azimuth and mass.

    Args:
        pt: transverse momentum [GeV], shape ``(...)``.
        rapidity: rapidity (not pseudorapidity).
        phi: azimuth.
        mass: mass [GeV].

    Returns:
        Four-vectors, shape ``(4, ...)``.
    """
    transverse_mass = np.sqrt(mass * mass + pt * pt)
    sinh = np.sinh(rapidity)
    return np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), transverse_mass * sinh, transverse_mass * np.sqrt(1.0 + sinh * sinh)]
    )


def transverse_momentum(p: FloatArray) -> FloatArray:
    """Transverse momentum [GeV] of four-vectors of shape ``(4, ...)``."""
    pt: FloatArray = np.sqrt(p[0] * p[0] + p[1] * p[1])
    return pt


def pseudorapidity(p: FloatArray) -> FloatArray:
    """Pseudorapidity of four-vectors of shape ``(4, ...)``; the transverse momentum must not vanish."""
    eta: FloatArray = np.arcsinh(p[2] / transverse_momentum(p))
    return eta


def invariant_mass(p: FloatArray) -> FloatArray:
    """Invariant mass [GeV] of four-vectors of shape ``(4, ...)``; rounding below zero gives zero."""
    squared = p[3] * p[3] - p[0] * p[0] - p[1] * p[1] - p[2] * p[2]
    mass: FloatArray = np.sqrt(np.maximum(squared, 0.0))
    return mass


def wrap_angle(delta_phi: FloatArray) -> FloatArray:
    """The difference of two azimuths in (-2 pi, 2 pi), brought into [-pi, pi]."""
    two_pi = delta_phi.dtype.type(2.0 * np.pi)
    wrapped: FloatArray = delta_phi - two_pi * np.rint(delta_phi / two_pi)
    return wrapped


def boost(p: FloatArray, frame: FloatArray, *, inverse: bool = False) -> FloatArray:
    r"""Boosts four-vectors from the rest frame of a moving system into the laboratory.

    With the system's mass M, energy E and momentum P,
    :math:`\vec p\,' = \vec p + \vec P\,[e + \vec p\cdot\vec P/(E+M)]/M` and :math:`e' = (E e + \vec p\cdot\vec P)/M`.

    Args:
        p: four-vectors given in the system's rest frame, shape ``(4, n)``.
        frame: four-vectors of the moving system in the laboratory, shape ``(4, n)``, of positive mass.
        inverse: go from the laboratory into the rest frame instead.

    Returns:
        Four-vectors in the other frame, shape ``(4, n)``.

    Source:
        Particle Data Group, review "Kinematics", section on Lorentz transformations.
    """
    mass = invariant_mass(frame)
    momentum = -frame[:3] if inverse else frame[:3]
    projection = p[0] * momentum[0] + p[1] * momentum[1] + p[2] * momentum[2]
    factor = (p[3] + projection / (frame[3] + mass)) / mass
    boosted = np.empty_like(p)
    boosted[:3] = p[:3] + momentum * factor
    boosted[3] = (frame[3] * p[3] + projection) / mass
    return boosted


def breakup_momentum(mass: FloatArray, first: FloatArray | float, second: FloatArray | float) -> FloatArray:
    """Momentum of the products of a two-body decay in the rest frame of the parent.

    Args:
        mass: mass of the parent [GeV].
        first: mass of the first product [GeV].
        second: mass of the second product [GeV].

    Returns:
        Momentum [GeV]; zero below threshold.

    Source:
        Particle Data Group, review "Kinematics", two-body decays.
    """
    product = (mass * mass - (first + second) ** 2) * (mass * mass - (first - second) ** 2)
    return np.sqrt(np.maximum(product, 0.0)) / (2.0 * mass)


def two_body_decay(
    parent: FloatArray,
    masses: tuple[FloatArray | float, FloatArray | float],
    cos_theta: FloatArray,
    phi: FloatArray,
    axis: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Two-body decay with given angles in the rest frame of the parent.

    Args:
        parent: four-vectors of the parent in the laboratory, shape ``(4, n)``.
        masses: masses of the two products [GeV].
        cos_theta: cosine of the angle of the first product to the axis, shape ``(n,)``.
        phi: its azimuth around the axis, shape ``(n,)``.
        axis: unit vectors in the parent's rest frame, shape ``(3, n)``; the z axis if left out.

    Returns:
        The four-vectors of the two products in the laboratory; they add up to the parent.
    """
    first_mass, second_mass = masses
    mass = invariant_mass(parent)
    momentum = breakup_momentum(mass, first_mass, second_mass)
    sin_theta = np.sqrt(np.maximum(1.0 - cos_theta * cos_theta, 0.0))
    direction = np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta])
    if axis is not None:
        direction = rotate_z_to(direction, axis)
    first = np.empty_like(parent)
    first[:3] = direction * momentum
    first[3] = np.sqrt(momentum * momentum + first_mass * first_mass)
    first = boost(first, parent)
    return first, parent - first


def rotate_z_to(vector: FloatArray, axis: FloatArray) -> FloatArray:
    """Rotates vectors by the rotation that turns the z axis into the given axis.

    Args:
        vector: vectors, shape ``(3, n)``.
        axis: unit vectors, shape ``(3, n)``.

    Returns:
        Rotated vectors, shape ``(3, n)``.
    """
    transverse = np.sqrt(axis[0] * axis[0] + axis[1] * axis[1])
    safe = np.maximum(transverse, 1e-12)
    # on the z axis the azimuth is free: take zero
    cos_phi, sin_phi = np.where(transverse > safe * 0.5, axis[0] / safe, 1.0), axis[1] / safe
    x, y, z = vector
    radial = axis[2] * x + transverse * z
    return np.stack([cos_phi * radial - sin_phi * y, sin_phi * radial + cos_phi * y, axis[2] * z - transverse * x])

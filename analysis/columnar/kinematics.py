"""Four-vectors as plain arrays, for inner loops over combinations of jets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np

    FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]


def cartesian(p: Mapping[str, FloatArray]) -> FloatArray:
    """Components of four-vectors.

    Args:
        p: ``pt``, ``eta``, ``phi``, ``mass`` [GeV], any common shape.

    Returns:
        ``x, y, z, t`` [GeV] along the first axis, shape ``(4, ...)``.
    """
    import numpy as np

    x, y, z = p["pt"] * np.cos(p["phi"]), p["pt"] * np.sin(p["phi"]), p["pt"] * np.sinh(p["eta"])
    return np.stack([x, y, z, np.sqrt(x**2 + y**2 + z**2 + p["mass"] ** 2)])


def invariant_mass(p: FloatArray) -> FloatArray:
    """Invariant mass [GeV] of four-vectors as :func:`cartesian` gives them; 0 if rounding makes the square negative."""
    import numpy as np

    return np.asarray(np.sqrt(np.maximum(p[3] ** 2 - p[0] ** 2 - p[1] ** 2 - p[2] ** 2, 0)))


def delta_r(eta1: FloatArray, phi1: FloatArray, eta2: FloatArray, phi2: FloatArray) -> FloatArray:
    r"""Distance :math:`\sqrt{\Delta\eta^2 + \Delta\phi^2}`, with the difference in azimuth wrapped to [-pi, pi]."""
    import numpy as np

    dphi = (phi1 - phi2 + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.hypot(eta1 - eta2, dphi))

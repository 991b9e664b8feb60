r"""Covariance matrix of fitted parameters, from second differences of the likelihood.

Minuit's ``hesse`` adapts its steps to what the minimisation left behind. Where parameters are strongly correlated and
the likelihood is not quite a parabola (HistFactory's interpolation is one polynomial within and another beyond
:math:`\pm 1\sigma`), it gives different matrices for the same minimum. Steps that are a fixed, small fraction of the
uncertainty do not: between 0.3 % and 3 % of it, the result is the same to 0.4 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP = 0.01
"""Step in units of the expected uncertainty: small for the truncation error, large for the rounding error."""

_RIDGE = 1e-6
"""Smallest eigenvalue of the second derivatives, each divided by those of its two parameters, that is told from 0."""


class CovarianceError(AnalysisError):
    """A likelihood has no covariance matrix at a point, because that is no proper minimum."""


def covariance(
    twice_nll: Callable[[NDArray[np.float64]], float], minimum: NDArray[np.float64], errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    r"""Inverse of half the matrix of second derivatives of :math:`-2\ln L`.

    Args:
        twice_nll: :math:`-2 \ln L` as a function of the parameters.
        minimum: parameters at its minimum, shape ``(parameters,)``.
        errors: expected uncertainties, which set the steps; a factor of two does not matter.

    Returns:
        The matrix, shape ``(parameters, parameters)``, symmetric and positive definite.

    Raises:
        CovarianceError: if the second derivatives are not finite or not positive definite.

    Source:
        F. James, MINUIT Reference Manual, section 7.1 (errors with ``UP = 1`` for :math:`-2\ln L`); M. Abramowitz and
        I. A. Stegun, Handbook of Mathematical Functions, formulas 25.3.23 and 25.3.27 for the differences.

    Examples:
        >>> import numpy as np
        >>> matrix = covariance(lambda x: float(x[0] ** 2 / 4 + x[1] ** 2), np.zeros(2), np.ones(2))
        >>> np.allclose(matrix, [[4, 0], [0, 1]])
        True
    """
    import numpy as np

    n = minimum.size
    steps = np.diag(_STEP * errors)
    center = twice_nll(minimum)
    up = np.array([twice_nll(minimum + step) for step in steps])
    down = np.array([twice_nll(minimum - step) for step in steps])
    second = np.zeros((n, n))
    for i in range(n):
        second[i, i] = up[i] - 2 * center + down[i]
        for j in range(i):
            both = twice_nll(minimum + steps[i] + steps[j]) + twice_nll(minimum - steps[i] - steps[j])
            second[i, j] = second[j, i] = (both - up[i] - down[i] - up[j] - down[j] + 2 * center) / 2
    curvature = np.sqrt(np.abs(np.diag(second)))
    if (
        not np.isfinite(second).all()
        or not curvature.all()
        or np.linalg.eigvalsh(second / np.outer(curvature, curvature))[0] < _RIDGE
    ):
        msg = (
            "the second derivatives of the likelihood are not positive definite at the best fit, which is at a limit, "
            "on a ridge or no minimum: look for parameters without effect and for those that cannot be told apart"
        )
        raise CovarianceError(msg)
    scale = np.diag(steps)
    inverse = 2 * np.linalg.inv(second) * np.outer(scale, scale)
    symmetric: NDArray[np.float64] = (inverse + inverse.T) / 2
    return symmetric

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats.covariance import CovarianceError, covariance

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_uncertainty_of_a_counting_experiment() -> None:
    # -2 ln L = 2 (mu - n ln mu): second derivative 2 n / mu^2, so that the variance of mu = n is n
    found = covariance(lambda x: float(2 * (x[0] - 130 * np.log(x[0]))), np.array([130.0]), np.array([10.0]))
    assert found[0, 0] == pytest.approx(130, rel=1e-4)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(-0.99, 0.99), st.floats(0.3, 3), st.floats(-1e6, 1e6))
def test_parabola_gives_its_matrix_for_any_step(
    first: float, second: float, correlation: float, guess: float, offset: float
) -> None:
    expected = np.array([[first**2, correlation * first * second], [correlation * first * second, second**2]])
    inverse = np.linalg.inv(expected)
    minimum = np.array([2.0, -1.0])

    def twice_nll(x: NDArray[np.float64]) -> float:
        return float((x - minimum) @ inverse @ (x - minimum)) + offset

    found = covariance(twice_nll, minimum, guess * np.array([first, second]))
    scale = np.outer([first, second], [first, second])
    # rounding of the offset, 1e-10, against the change over one step, (1 - correlation^2) 1e-4 at least
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=2e-2 / (1 - correlation**2))


def test_matrix_is_exactly_symmetric() -> None:
    def twice_nll(x: NDArray[np.float64]) -> float:
        return float(np.cosh(x[0]) + np.exp(0.3 * x[0] * x[1]) + x[1] ** 2 + x[2] ** 2 * (1 + 0.1 * x[0]))

    found = covariance(twice_nll, np.zeros(3), np.ones(3))
    assert (found == found.T).all()
    # by hand at 0: d2/dx0^2 = 1, d2/dx1^2 = 2, d2/dx0dx1 = 0.3, d2/dx2^2 = 2
    expected = 2 * np.linalg.inv(np.array([[1, 0.3, 0], [0.3, 2, 0], [0, 0, 2]]))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    "twice_nll",
    [
        pytest.param(lambda x: float(x[0] ** 2 - x[1] ** 2), id="saddle"),
        pytest.param(lambda x: float(x[0] ** 2 + 0 * x[1]), id="no effect"),
        pytest.param(lambda x: float((x[0] + x[1]) ** 2), id="ridge"),
        pytest.param(lambda x: float("nan") if x[0] < 0 else float(x @ x), id="limit"),
    ],
)
def test_no_minimum_is_an_error(twice_nll: object) -> None:
    with pytest.raises(CovarianceError, match="not positive definite"):
        covariance(twice_nll, np.zeros(2), np.ones(2))  # type: ignore[arg-type]

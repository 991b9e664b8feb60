from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.columnar.kinematics import cartesian, delta_r, invariant_mass

ONE = np.ones(1)


def test_components_of_a_known_vector() -> None:
    p = cartesian({"pt": 3 * ONE, "eta": np.arcsinh(4 / 3) * ONE, "phi": math.pi / 2 * ONE, "mass": 12 * ONE})
    np.testing.assert_allclose(p[:, 0], [0, 3, 4, 13], atol=1e-14)  # 3, 4, 5 and 5, 12, 13


def test_mass_of_two_back_to_back_massless_particles() -> None:
    p = cartesian(
        {"pt": np.array([40.0, 40.0]), "eta": np.zeros(2), "phi": np.array([0, math.pi]), "mass": np.zeros(2)}
    )
    assert invariant_mass(p.sum(axis=1)) == pytest.approx(80)


@given(pt=st.floats(1, 1e3), eta=st.floats(-4, 4), phi=st.floats(-math.pi, math.pi), mass=st.floats(1, 200))
def test_mass_survives_the_change_of_coordinates(pt: float, eta: float, phi: float, mass: float) -> None:
    p = cartesian({"pt": pt * ONE, "eta": eta * ONE, "phi": phi * ONE, "mass": mass * ONE})
    assert invariant_mass(p)[0] == pytest.approx(mass, rel=1e-3)


def test_distance_wraps_around() -> None:
    assert delta_r(0 * ONE, 3.0 * ONE, 0 * ONE, -3.0 * ONE)[0] == pytest.approx(2 * math.pi - 6)
    assert delta_r(3 * ONE, 0 * ONE, 0 * ONE, 4 - 2 * math.pi * ONE)[0] == pytest.approx(math.hypot(3, 2 * math.pi - 4))

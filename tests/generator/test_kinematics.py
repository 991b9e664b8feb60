from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.generator import kinematics

momenta = st.floats(-500.0, 500.0)
masses = st.floats(1.0, 300.0)
cosines = st.floats(-1.0, 1.0)
angles = st.floats(-3.1, 3.1)


def vector(px: float, py: float, pz: float, mass: float) -> kinematics.FloatArray:
    energy = np.sqrt(px * px + py * py + pz * pz + mass * mass)
    return np.array([[px], [py], [pz], [energy]])


def test_detector_coordinates() -> None:
    p = kinematics.from_pt_eta_phi_mass(np.array([3.0]), np.array([np.arcsinh(4.0 / 3.0)]), np.array([0.0]), 12.0)
    assert p[:, 0] == pytest.approx([3.0, 0.0, 4.0, 13.0])
    assert kinematics.transverse_momentum(p) == pytest.approx([3.0])
    assert kinematics.pseudorapidity(p) == pytest.approx(np.arcsinh(4.0 / 3.0))
    assert kinematics.invariant_mass(p) == pytest.approx([12.0])


def test_rapidity_is_half_the_logarithm_of_the_light_cone_ratio() -> None:
    p = kinematics.from_pt_rapidity_phi_mass(np.array([50.0]), np.array([1.2]), np.array([np.pi / 2]), np.array([80.0]))
    assert 0.5 * np.log((p[3] + p[2]) / (p[3] - p[2])) == pytest.approx([1.2])
    assert p[:2, 0] == pytest.approx([0.0, 50.0])
    assert kinematics.invariant_mass(p) == pytest.approx([80.0])


def test_breakup_momentum_of_a_top_quark() -> None:
    # (172.5^2 - 80.4^2) / (2 * 172.5) for a massless b quark
    assert kinematics.breakup_momentum(np.array([172.5]), 80.4, 0.0) == pytest.approx([67.51], abs=0.01)
    assert kinematics.breakup_momentum(np.array([10.0]), 6.0, 6.0) == pytest.approx([0.0])


def test_boost_along_z() -> None:
    # gamma = 5/4, gamma beta = 3/4
    boosted = kinematics.boost(vector(1.0, 0.0, 2.0, 2.0), vector(0.0, 0.0, 3.0, 4.0))
    assert boosted[:, 0] == pytest.approx([1.0, 0.0, 1.25 * 2.0 + 0.75 * 3.0, 1.25 * 3.0 + 0.75 * 2.0])


@pytest.mark.parametrize(("raw", "wrapped"), [(4.0, 4.0 - 2 * np.pi), (-4.0, 2 * np.pi - 4.0), (1.0, 1.0)])
def test_wrap_angle(raw: float, wrapped: float) -> None:
    assert kinematics.wrap_angle(np.array([raw])) == pytest.approx([wrapped])


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.48, 0.6, 0.64)])
def test_rotation_turns_z_into_the_axis_and_keeps_angles(axis: tuple[float, float, float]) -> None:
    target = np.array(axis)[:, None]
    x, y, z = (kinematics.rotate_z_to(unit[:, None], target)[:, 0] for unit in np.eye(3))
    assert z == pytest.approx(axis)
    assert np.array([x, y, z]) @ np.array([x, y, z]).T == pytest.approx(np.eye(3))
    assert np.cross(x, y) == pytest.approx(z)


@given(px=momenta, py=momenta, pz=momenta, mass=masses, cosine=cosines, phi=angles)
def test_decay_conserves_momentum_and_gives_the_masses(
    px: float, py: float, pz: float, mass: float, cosine: float, phi: float
) -> None:
    parent = vector(px, py, pz, mass)
    axis = np.array([[0.6], [0.0], [-0.8]])
    masses_out = (0.5 * mass, 0.1 * mass)
    products = kinematics.two_body_decay(parent, masses_out, np.array([cosine]), np.array([phi]), axis)
    assert products[0] + products[1] == pytest.approx(parent)
    for product, expected in zip(products, masses_out, strict=True):
        squared = product[3] ** 2 - (product[:3] ** 2).sum(axis=0)
        assert squared == pytest.approx(expected**2, abs=1e-9 * parent[3, 0] ** 2)
    inside = kinematics.boost(products[0], parent, inverse=True)
    direction = inside[:3, 0] / np.linalg.norm(inside[:3, 0])
    assert direction @ axis[:, 0] == pytest.approx(cosine, abs=1e-6 * parent[3, 0] / mass)
    assert kinematics.boost(inside, parent) == pytest.approx(products[0], abs=1e-6 * parent[3, 0])

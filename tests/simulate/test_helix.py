import numpy as np
import pytest

from salt.simulate import helix


def perigee(**changes):
    track = {"pt": 1e6, "eta": 0.0, "phi": 0.0, "charge": 1, "x": 0.0, "y": 0.0, "z": 0.0, **changes}
    return [value[0] for value in helix.perigee(*(np.array([value]) for value in track.values()))]


def test_straight_track_along_x_displaced_in_y():
    # the perigee is (0, 3): (-d0 sin 0, d0 cos 0) gives d0 = 3
    d0, z0, phi = perigee(x=10.0, y=3.0, z=5.0)
    assert (d0, z0, phi) == pytest.approx((3.0, 5.0, 0.0), abs=1e-4)


def test_straight_track_along_y_displaced_in_x():
    # the perigee is (2, 0): -d0 sin(90 degrees) = 2 gives d0 = -2
    d0, _, phi = perigee(phi=np.pi / 2, x=2.0, y=7.0)
    assert (d0, phi) == pytest.approx((-2.0, np.pi / 2), abs=1e-4)


def test_z0_goes_back_along_the_track():
    # 10 mm forward in the transverse plane at sinh(eta) = 1 is 10 mm in z
    _, z0, _ = perigee(eta=np.arcsinh(1.0), x=10.0, z=4.0)
    assert z0 == pytest.approx(-6.0, abs=1e-4)


@pytest.mark.parametrize("charge", [-1, 1])
def test_track_from_the_origin_has_no_impact_parameter(charge):
    d0, z0, phi = perigee(pt=1.0, phi=2.5, charge=charge)
    assert (d0, z0, phi) == pytest.approx((0, 0, 2.5), abs=1e-9)


@pytest.mark.parametrize("charge", [-1, 1])
def test_curved_track_points_to_the_origin_when_followed_back(charge):
    # a particle that left the origin along x and turned by a right angle: at (R, -R) for a positive charge
    radius = 1.0 / (0.299792458e-3 * 2.0)
    d0, z0, phi = perigee(pt=1.0, charge=charge, phi=-charge * np.pi / 2, x=radius, y=-charge * radius, z=0.0)
    assert (d0, z0, phi) == pytest.approx((0, 0, 0), abs=1e-9)


def test_radius_of_one_gev_in_two_tesla():
    # a particle at the origin, turning: at y = -s^2 / (2 R) after s along x. Followed from there, d0 = 0 at phi = 0
    radius = 1000 / (0.3 * 2)  # mm, the rule of thumb R[m] = pT[GeV] / (0.3 B[T])
    path = 10.0
    d0, _, _ = perigee(pt=1.0, x=path, y=-(path**2) / (2 * radius), phi=-path / radius)
    assert d0 == pytest.approx(0, abs=1e-4)


def test_lifetime_sign_is_positive_on_the_jets_side():
    # jet along x, particle from (1, 0) going up and forward: it passes the origin on the jet's side
    d0, _, phi = perigee(x=1.0, phi=0.5)
    signed = helix.lifetime_sign(np.array([d0]), np.sin(np.array([0.0 - phi])))
    assert signed[0] == pytest.approx(np.sin(0.5), abs=1e-4)


def test_lifetime_sign_is_negative_behind_the_vertex():
    d0, _, phi = perigee(x=-1.0, phi=0.5)
    signed = helix.lifetime_sign(np.array([d0]), np.sin(np.array([0.0 - phi])))
    assert signed[0] == pytest.approx(-np.sin(0.5), abs=1e-4)

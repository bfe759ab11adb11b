import numpy as np
import pytest

from salt.data.transforms import GaussianNoise

NAMES = ["d0", "pt", "eta"]
JETS, ROWS = np.repeat(np.arange(2000), 5), np.tile(np.arange(5), 2000)


def noisy(noise_params, stream="tracks", value=100.0, key=1, jets=JETS, rows=ROWS):
    values = np.full((len(jets), len(NAMES)), value, np.float32)
    return GaussianNoise(noise_params).apply(stream, values, NAMES, jets, rows, key)


def of(variable="d0", mean=0.0, std=0.1, **more):
    return {"variable": variable, "mean": mean, "std": std, **more}


def test_noise_is_a_fraction_of_the_value():
    values = noisy({"tracks": [of(mean=0.1, std=0.05)]})[:, 0]
    assert abs(values.mean() - 110) < 5 * 5 / np.sqrt(len(values))
    assert abs(values.std() - 5) < 0.2
    small = noisy({"tracks": [of(mean=0.1, std=0.05)]}, value=1.0)[:, 0]
    np.testing.assert_allclose(small, values / 100, rtol=1e-6)


def test_a_mean_without_deviation_shifts_by_that_fraction():
    np.testing.assert_allclose(noisy({"tracks": [of(mean=0.5, std=0.0)]})[:, 0], 150)


def test_other_variables_and_streams_stay_as_they_are():
    noise = {"tracks": [of()]}
    assert (noisy(noise)[:, 1:] == 100).all()
    assert (noisy(noise, stream="flows") == 100).all()
    assert (noisy(None) == 100).all()


def test_zero_stays_zero():
    assert (noisy({"tracks": [of()]}, value=0.0) == 0).all()


def test_the_noise_of_a_jet_is_the_same_in_any_batch():
    noise = {"tracks": [of(), of("pt")]}
    whole = noisy(noise)
    order = np.random.default_rng(0).permutation(len(JETS))[:700]
    assert (noisy(noise, jets=JETS[order], rows=ROWS[order]) == whole[order]).all()


def test_the_noise_is_another_one_in_each_epoch():
    noise = {"tracks": [of()]}
    assert (noisy(noise, key=1) == noisy(noise, key=1)).all()
    assert (noisy(noise, key=1)[:, 0] != noisy(noise, key=2)[:, 0]).mean() > 0.99


def test_variables_streams_and_tracks_have_noise_of_their_own():
    values = noisy({"tracks": [of(), of("pt")]})
    jets = noisy({"jets": [of()]}, stream="jets")
    for other in (values[:, 1], jets[:, 0]):
        assert abs(np.corrcoef(values[:, 0], other)[0, 1]) < 0.05
    by_jet = values[:, 0].reshape(-1, 5)
    assert abs(np.corrcoef(by_jet.T) - np.eye(5)).max() < 0.12


def test_a_list_with_input_types_means_the_same():
    flat = [of(input_type="tracks"), of("pt", input_type="jets")]
    nested = {"tracks": [of()], "jets": [of("pt")]}
    for stream in ("tracks", "jets"):
        assert (noisy(flat, stream) == noisy(nested, stream)).all()


def test_an_unknown_variable_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown variable 'd00' in data.variables.tracks .*nearest: d0"):
        noisy({"tracks": [of("d00")]})


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ([of()], "needs input_type"),
        ({"tracks": [{"variable": "d0", "std": 1}]}, r"data.transforms: noise_params.tracks lacks mean"),
        ({"tracks": [of(sigma=1)]}, "unknown key 'sigma'"),
        ({"tracks": [of(std=-1)]}, "std one that is not negative"),
        ({"tracks": [of(mean=np.nan)]}, "mean must be a number"),
    ],
)
def test_a_wrong_entry_is_told(noise, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoise(noise)

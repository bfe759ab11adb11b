"""Normalisation of inputs, and checkpoints of it."""

import pytest
import torch

from salt.nn.norm import InputNorm, NormOptions
from salt.ragged import Ragged
from salt.types import Schema

SCHEMA = Schema({"jets": ["pt"], "tracks": ["d0", "z0"], "global": ["mass"], "parameters": ["target"]})
ENTRY = {"mean": 1.0, "std": 2.0, "median": 3.0, "iqr": 1.3489795}
NORMS = {"jets": {"pt": ENTRY, "mass": {"mean": 10, "std": 5}}, "tracks": {"d0": ENTRY, "z0": {"mean": 0, "std": 1}}}
X = torch.tensor([[5.0]])


def inputs():
    tracks = Ragged.from_lengths(torch.tensor([[5.0, 5.0], [-99.0, 0.5]]), torch.tensor([2]))
    return {"jets": X, "tracks": tracks, "global": X, "parameters": X}


def test_each_stream_has_its_own_mean_and_width_and_parameters_none():
    out = InputNorm(SCHEMA, NORMS)(inputs())
    assert {name: out[name].item() for name in ("jets", "global", "parameters")} == {
        "jets": 2, "global": -1, "parameters": 5,
    }  # fmt: skip
    assert out["tracks"].values.tolist() == [[2, 5], [-50, 0.5]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_all_streams_come_in_the_precision_of_the_model(dtype):
    out = InputNorm(SCHEMA, NORMS).to(dtype)(inputs())
    assert {x.values.dtype if isinstance(x, Ragged) else x.dtype for x in out.values()} == {dtype}


def test_values_that_16_bits_cannot_tell_apart_are_told_apart_where_their_difference_is_a_width():
    norms = {"jets": {"pt": {"mean": 1024.0, "std": 1.0}}}  # bfloat16 knows 1024 and 1032, and nothing between
    out = InputNorm(Schema({"jets": ["pt"]}), norms).bfloat16()({"jets": torch.tensor([[1025.0]])})
    assert out["jets"].item() == 1


def test_values_are_clipped_to_so_many_widths():
    out = InputNorm(SCHEMA, NORMS, NormOptions(clip=3.5))(inputs())
    assert out["tracks"].values.tolist() == [[2, 3.5], [-3.5, 0.5]]
    assert out["parameters"].item() == 5


def test_a_robust_normalisation_takes_the_median_and_the_width_of_the_middle_half():
    norm = InputNorm(Schema({"jets": ["pt"]}), NORMS, NormOptions(robust=True))
    torch.testing.assert_close(norm({"jets": X})["jets"], torch.tensor([[2.0]]))
    with pytest.raises(ValueError, match=r"data.norm_dict has \{'mean': 0, 'std': 1\} for z0: it takes a median"):
        InputNorm(SCHEMA, NORMS, NormOptions(robust=True))


def test_a_variable_that_the_dictionary_lacks_is_named():
    with pytest.raises(ValueError, match=r"no entry for eta; of its dataset there are pt, mass"):
        InputNorm(Schema({"jets": ["eta"]}), NORMS)


def test_a_width_of_zero_cannot_clip():
    with pytest.raises(ValueError, match=r"model.norm.clip is 0; it is a number of widths, above 0"):
        NormOptions(clip=0)


def test_an_unflagged_checkpoint_has_the_names_that_it_had():
    assert list(InputNorm(SCHEMA, NORMS).state_dict()) == [
        "jets_means", "jets_stds", "tracks_means", "tracks_stds", "global_means", "global_stds",
    ]  # fmt: skip


def test_older_checkpoints_load_with_their_entries_for_parameters():
    old = InputNorm(SCHEMA, NORMS).state_dict() | {"parameters_means": torch.ones(1), "parameters_stds": torch.ones(1)}
    new = InputNorm(SCHEMA)
    new.load_state_dict(new.taken(old, ""))
    assert new.jets_means.item() == 1


def test_a_checkpoint_of_normalised_inputs_is_refused_where_they_are_not():
    already = InputNorm(SCHEMA, options=NormOptions(already=True))
    already.load_state_dict(already.taken(already.state_dict(), ""))
    with pytest.raises(ValueError, match=r"inputs that are normalised already .* here are not normalised"):
        InputNorm(SCHEMA, NORMS).taken(already.state_dict(), "")


def test_a_checkpoint_of_inputs_that_are_not_normalised_is_refused_where_they_are():
    with pytest.raises(ValueError, match=r"inputs that are not normalised, but the inputs here are normalised already"):
        InputNorm(SCHEMA, options=NormOptions(already=True)).taken(InputNorm(SCHEMA, NORMS).state_dict(), "")


def test_a_checkpoint_from_before_the_flag_loads_where_it_changes_nothing():
    already = InputNorm(SCHEMA, options=NormOptions(already=True))
    already.load_state_dict(already.taken(InputNorm(SCHEMA).state_dict(), ""))

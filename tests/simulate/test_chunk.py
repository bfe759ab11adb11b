import numpy as np
import pytest

from salt.simulate import candidates, chunk, columns, generator, overlay

EVENTS = 40


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlay, "POOL_PART_EVENTS", 20)
        return candidates.concatenate([chunk.make_pool(1, part) for part in range(2)])


@pytest.fixture
def simulate(pool, monkeypatch):
    monkeypatch.setattr(chunk, "EVENTS", EVENTS)
    monkeypatch.setattr(overlay, "POOL_EVENTS", 40)
    return lambda process, seed=1, number=0: chunk.simulate(generator.PROCESSES[process], seed, number, pool)


def test_chunk_is_the_same_whatever_was_made_before_it(simulate):
    first = simulate("ttbar", number=3)
    simulate("ttbar", number=4)
    again = simulate("ttbar", number=3)
    for name in ("jets", "tracks", "hadrons"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


@pytest.mark.parametrize("change", [{"seed": 2}, {"number": 1}])
def test_another_seed_or_chunk_gives_other_jets(simulate, change):
    assert not set(simulate("ttbar").jets["pt"]) & set(simulate("ttbar", **change).jets["pt"])


@pytest.mark.parametrize("process", list(generator.PROCESSES))
def test_every_process_gives_whole_jets(simulate, process):
    made = simulate(process)
    assert len(made.jets) > EVENTS
    assert made.num_tracks.sum() == len(made.tracks)
    assert made.num_hadrons.sum() == len(made.hadrons)
    assert made.num_tracks.max() <= columns.MAX_TRACKS
    assert np.isfinite(made.jets["pt"]).all()


def test_dijets_carry_weights(simulate):
    assert simulate("dijet").jets["mcEventWeight"].std() > 0


def test_jets_of_the_zprime_are_hard(simulate):
    jets = simulate("zprime").jets
    assert np.median(jets["pt"][jets["flavour_label"] == 0]) > 300_000


def test_barcodes_are_unique_across_chunks(simulate):
    barcodes = np.concatenate([simulate("ttbar", number=number).hadrons["barcode"] for number in (0, 1)])
    assert len(np.unique(barcodes)) == len(barcodes)


def test_events_are_numbered_across_chunks(simulate):
    events = simulate("ttbar", number=2).jets["eventNumber"]
    assert events.min() >= 2 * EVENTS
    assert events.max() < 3 * EVENTS


def test_light_jets_have_no_hadron_and_others_have(simulate):
    jets = simulate("ttbar").jets
    light = jets["HadronConeExclTruthLabelID"] == 0
    assert np.isnan(jets["HadronConeExclTruthLabelPt"][light]).all()
    assert (jets["HadronConeExclTruthLabelPt"][~light] > 5000).all()
    assert (jets["HadronConeExclTruthLabelPdgId"][light] == 0).all()
    assert (jets["HadronConeExclTruthLabelPdgId"][~light] != 0).all()

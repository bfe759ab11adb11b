import logging

import h5py
import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer

from salt.data import SaltDataModule
from salt.data.order import make_order


class Recorder(LightningModule):
    """A model that learns nothing and remembers the jets of each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = {}, {}

    def training_step(self, batch, batch_idx):
        self.trained.setdefault(self.current_epoch, []).append(batch.index)
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.validated.setdefault(self.current_epoch, []).append(batch.index)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def make_data(make_file, schema, labels):
    def make(**options):
        train = options.pop("train_file", None) or str(make_file("train.h5"))
        val = options.pop("val_file", None) or str(make_file("val.h5", num_jets=50))
        return SaltDataModule(
            schema.variables, train, val, input_map=schema.input_map, labels=labels, batch_size=20, **options
        )

    return make


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, enable_checkpointing=False, devices=1, **quiet, **options)


def test_a_fit_sees_each_jet_once_an_epoch_in_the_order_of_seed_and_epoch(make_data, tmp_path):
    model, data = Recorder(), make_data(seed=11)
    trainer(tmp_path, max_epochs=3).fit(model, datamodule=data)
    for epoch in range(3):
        expected = make_order("exact", 230, 20, seed=11).batches(epoch)
        for batch, positions in zip(model.trained[epoch], expected, strict=True):
            assert sorted(batch.tolist()) == sorted(positions.tolist())


def test_a_test_has_the_columns_that_the_file_has_as_they_are_and_no_labels(make_data, make_file):
    path = make_file("test.h5")
    asked = {"jets": ["mass", "absent"], "tracks": ["origin"], "nowhere": ["x"]}
    data = make_data(test_file=str(path), columns=asked, new_variables={"jets": {"twice": "2 * pt"}})
    data.columns["jets"].append("twice")
    data.setup("test")
    with h5py.File(path) as file:
        jets = file[data.schema.dataset("jets")][:]
        tracks = file[data.schema.dataset("tracks")][:]
    for batch in data.test_dataloader():
        assert not batch.labels
        assert {stream: list(of) for stream, of in batch.columns.items()} == {
            "jets": ["mass", "twice"],
            "tracks": ["origin"],
        }
        index = batch.index.numpy()
        np.testing.assert_array_equal(batch.columns["jets"]["mass"], jets["mass"][index].astype("f4"))
        np.testing.assert_allclose(batch.columns["jets"]["twice"], 2 * jets["pt"][index])
        of_jets = [row["origin"][row["valid"]] for row in tracks[index]]
        np.testing.assert_array_equal(batch.columns["tracks"]["origin"], np.concatenate(of_jets))


def test_validation_has_each_jet_once(make_data, tmp_path):
    model = Recorder()
    trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0).fit(model, datamodule=make_data())
    assert torch.cat(model.validated[0]).sort().values.tolist() == list(range(50))


def test_without_a_trainer_epochs_are_counted(make_data):
    data = make_data(seed=1)
    data.setup("fit")
    loader = data.train_dataloader()
    epochs = [torch.cat([batch.index for batch in loader]) for _ in range(2)]
    assert not torch.equal(*epochs)
    first = torch.cat(list(make_order("exact", 230, 20, seed=1).batches(0))[:1])
    assert sorted(epochs[0][:20].tolist()) == sorted(first.tolist())


def test_the_seed_is_that_of_everything_where_none_is_given(make_data):
    orders = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        data = make_data()
        data.setup("fit")
        orders.append(next(iter(data.train_dataloader())).index.tolist())
    assert orders[0] == orders[1] != orders[2]


def test_a_resumed_run_keeps_the_seed_of_its_checkpoint(make_data):
    first, second = make_data(), make_data()
    torch.manual_seed(5)
    first.setup("fit")
    torch.manual_seed(6)
    second.setup("fit")
    second.load_state_dict(first.state_dict())
    assert torch.equal(*(next(iter(data.train_dataloader())).index for data in (first, second)))


def test_a_seed_that_is_given_beats_that_of_the_checkpoint(make_data):
    data = make_data(seed=3)
    data.setup("fit")
    data.load_state_dict({"seed": 4})
    assert data.train_dataloader().feed.order.seed == 3


def test_one_file_for_training_and_validation_is_read_once(make_data, make_file, caplog):
    caplog.set_level(logging.INFO)
    file = str(make_file("both.h5"))
    data = make_data(train_file=file, val_file=file, num_train=100, num_val=30)
    data.setup("fit")
    assert sum("building" in record.message for record in caplog.records) == 1
    assert sum(map(len, data.train_dataloader())) == 100
    assert sum(map(len, data.val_dataloader())) == 30


def test_the_store_is_told(make_data, caplog):
    caplog.set_level(logging.INFO)
    make_data().setup("validate")
    said = [message for message in caplog.messages if message.startswith("store ")]
    assert len(said) == 1
    assert "50 jets" in said[0]
    assert "tracks" in said[0]
    assert "kB" in said[0]


def test_testing_needs_no_labels(make_file, schema):
    data = SaltDataModule(
        schema.variables, test_file=str(make_file()), input_map=schema.input_map, labels={"jets": ["no"]}
    )
    data.setup("test")
    batches = list(data.test_dataloader())
    assert data.num_test_jets == 230
    assert all(batch.labels == {} for batch in batches)


def test_a_fit_without_validation_needs_no_file_for_it(schema, make_file, tmp_path):
    model, data = Recorder(), SaltDataModule(schema.variables, str(make_file()), input_map=schema.input_map)
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(model, datamodule=data)
    assert model.validated == {}


def test_a_fit_with_validation_says_that_it_needs_a_file(schema, make_file, tmp_path):
    data = SaltDataModule(schema.variables, str(make_file()), input_map=schema.input_map)
    with pytest.raises(ValueError, match=r"data\.val_file is not set: set it, or trainer"):
        trainer(tmp_path, max_epochs=1).fit(Recorder(), datamodule=data)


def test_too_many_workers_are_warned_of(make_data, caplog):
    make_data(num_workers=999).setup("validate")
    assert "data.num_workers is 999, but this process may use" in caplog.text


def test_no_workers_are_explained(make_data, caplog):
    caplog.set_level(logging.INFO)
    make_data(num_workers=0).setup("validate")
    assert "data.num_workers is 0: one thread" in caplog.text


def test_a_file_that_is_not_set_is_told_with_its_key(make_data):
    with pytest.raises(ValueError, match=r"data\.test_file is not set"):
        make_data().setup("test")


def test_a_loader_before_setup_says_what_to_call(make_data):
    with pytest.raises(ValueError, match=r"call setup\('fit'\) first"):
        make_data().train_dataloader()


@pytest.mark.parametrize(
    ("options", "policy"),
    [({}, "raise"), ({"non_finite_to_num": True}, "zero"), ({"ignore_finite_checks": True}, "keep")],
)
def test_the_flags_for_non_finite_values_choose_what_happens(make_data, options, policy):
    assert make_data(**options).recipe("train").non_finite == policy


@pytest.mark.parametrize("option", ["train_vds_path", "val_vds_path", "test_vds_path", "config_s3"])
def test_options_that_are_not_read_are_said_to_be(make_data, caplog, option):
    make_data(**{option: {"s3": "x"} if option == "config_s3" else ["x"]})
    assert f"data.{option} is not read: " in caplog.text


def test_nothing_is_said_of_options_that_are_not_set(make_data, caplog):
    make_data()
    assert "is not read" not in caplog.text

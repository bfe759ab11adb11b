import csv
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
import torch
import yaml

from salt.training.module import SaltModule

SMALL = ("--data.batch_size=100", "--trainer.log_every_n_steps=1")
SHORT = (
    "--trainer.max_epochs=1",
    "--trainer.log_every_n_steps=1",
    "--data.num_train=300",
    "--data.num_val=300",
    "--data.batch_size=100",
)


def weights_of(run):
    (path, *_) = sorted((run / "ckpts").glob("*.ckpt"), reverse=True)
    return torch.load(path, weights_only=True)["state_dict"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def short_fit(salt, suffix, *options):
    answer = salt("fit", "--config", "simple.yaml", "-ls", suffix, *SHORT, *options)
    assert answer.code == 0, answer.err
    return weights_of(Path("logs") / f"simple_{suffix}")


@pytest.fixture
def steps(monkeypatch):
    """Count the batches that are trained and validated with."""
    count = Counter()
    for name in ("training_step", "validation_step"):
        step = getattr(SaltModule, name)

        def counted(self, batch, batch_idx, name=name, step=step):
            count[name] += 1
            return step(self, batch, batch_idx)

        monkeypatch.setattr(SaltModule, name, counted)
    return count


@pytest.mark.parametrize("config", ["simple", "gnn"])
def test_fast_dev_run_takes_exactly_so_many_batches_and_leaves_nothing_behind(salt, steps, tmp_path, config):
    answer = salt("fit", "--config", f"configs/{config}.yaml", "--trainer.fast_dev_run", "5")
    assert answer.code == 0, answer.err
    assert steps == {"training_step": 5, "validation_step": 5}
    assert list(tmp_path.iterdir()) == []


def test_fast_dev_run_says_which_config_and_data_it_took(salt):
    err = salt("fit", "--config", "configs/simple.yaml", "--trainer.fast_dev_run=1", "--data.batch_size=50").err
    assert "no file configs/simple.yaml here: taking the one that salt ships" in err
    assert "training on the package's sample of 2,000 simulated jets (data.train_file names another file)" in err
    assert "class_names = bjets, cjets, ujets, taujets from the attributes of" in err


def test_a_config_in_the_current_directory_wins_over_the_packaged_one(salt, overlay, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "gnn.yaml").write_text("nome: mine")
    answer = salt("fit", "--config", "configs/gnn.yaml")
    assert answer.code == 2
    assert "unknown key nome in configs/gnn.yaml" in answer.err


def test_the_run_directory_is_named_by_the_time(finished_run):
    run, answer = finished_run
    name, time = run.name.split("_")
    assert name == "GNN"
    assert abs((datetime.now() - datetime.strptime(time, "%Y%m%d-%H%M%S")).total_seconds()) < 3600
    assert f"run directory: {run}" in answer.err


def test_the_run_directory_holds_config_dictionaries_checkpoints_and_losses(finished_run):
    run, _ = finished_run
    assert {path.name for path in run.iterdir()} - {"diff.patch"} == {  # where changes are in no commit
        "config.yaml", "metadata.yaml", "state.yaml", "norm_dict.yaml", "class_dict.yaml", "ckpts", "metrics.csv"
    }  # fmt: skip
    checkpoints = sorted(path.name for path in (run / "ckpts").iterdir())
    assert len(checkpoints) == 2
    for epoch, name in enumerate(checkpoints):
        assert re.fullmatch(rf"epoch=00{epoch}-val_loss=\d\.\d{{5}}\.ckpt", name)


def test_the_saved_config_is_merged_and_filled_in(finished_run):
    run, _ = finished_run
    text = (run / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert text.startswith("# lightning.pytorch==")
    assert config["seed_everything"] == 42  # base.yaml
    assert config["name"] == "GNN"  # gnn.yaml
    assert config["data"]["batch_size"] == 250  # the command line
    assert config["trainer"]["default_root_dir"] == str(run)
    assert config["trainer"]["logger"]["init_args"]["save_dir"] == str(run)
    task = config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][0]["init_args"]
    assert task["class_names"] == ["bjets", "cjets", "ujets", "taujets"]
    assert task["loss"]["init_args"]["weight"] == [1.67, 4.58, 1.0, 27.69]


def test_the_saved_config_names_the_copies_of_the_dictionaries(finished_run):
    run, _ = finished_run
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    packaged = Path(data["train_file"]).parent
    for key in ("norm_dict", "class_dict"):
        assert data[key] == str(run / f"{key}.yaml")
        assert Path(data[key]).read_bytes() == (packaged / f"{key}.yaml").read_bytes()


def test_the_saved_config_holds_no_targets_of_links(finished_run):
    config = yaml.safe_load((finished_run[0] / "config.yaml").read_text())
    assert "labels" not in config["data"]
    assert not {"norm_dict", "name"} & config["model"].keys()
    assert "schema" not in config["model"]["model"]["init_args"]


def test_losses_and_learning_rate_are_recorded(finished_run):
    columns = set((finished_run[0] / "metrics.csv").read_text().partition("\n")[0].split(","))
    tasks = {"jets_classification", "track_origin", "track_vertexing"}
    losses = {"loss", *(f"{task}_loss" for task in tasks)}
    assert columns >= {f"{stage}/{loss}" for stage in ("train", "val") for loss in losses} | {"lr-AdamW"}


def test_the_checkpoint_is_named_by_the_validation_loss_of_its_epoch(finished_run):
    head, *lines = [line.split(",") for line in (finished_run[0] / "metrics.csv").read_text().splitlines()]
    recorded = [line[head.index("val/jets_classification_loss")] for line in lines]
    names = sorted(path.stem for path in (finished_run[0] / "ckpts").iterdir())
    assert [name.rpartition("=")[2] for name in names] == [f"{float(loss):.5f}" for loss in recorded if loss]


def test_a_checkpoint_holds_nothing_but_tensors_and_plain_values(finished_run):
    for path in (finished_run[0] / "ckpts").iterdir():
        assert torch.load(path, weights_only=True)["state_dict"]


def test_log_suffix_takes_the_place_of_the_time(salt):
    short_fit(salt, "mine")
    assert [path.name for path in Path("logs").iterdir()] == ["simple_mine"]


def test_a_second_run_does_not_mix_with_the_first_of_that_name(salt):
    short_fit(salt, "mine")
    answer = salt("fit", "--config", "simple.yaml", "-ls", "mine", *SHORT)
    assert answer.code == 2
    assert "there is a run in " in answer.error


def metrics_of(run):
    """What was logged, but for what is measured by the clock."""
    with (run / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "data_wait"} for row in csv.DictReader(file)]


def test_the_saved_config_alone_gives_the_same_run_beside_the_old(salt, finished_run, own_run, tmp_path):
    before = metrics_of(own_run)
    answer = salt("fit", "--config", own_run / "config.yaml")
    assert answer.code == 0, answer.err
    (new,) = set((tmp_path / "logs").iterdir()) - {own_run}
    assert equal(weights_of(new), weights_of(finished_run[0]))
    assert metrics_of(own_run) == before
    assert metrics_of(new) == before


def test_the_saved_config_of_a_run_with_a_suffix_gives_a_run_beside_it(salt):
    short_fit(salt, "mine")
    assert salt("fit", "--config", "logs/simple_mine/config.yaml").code == 0
    (new,) = {path.name for path in Path("logs").iterdir()} - {"simple_mine"}
    assert re.fullmatch(r"simple_\d{8}-\d{6}", new)


def test_the_same_seed_gives_the_same_weights_bit_by_bit(salt):
    one, other = short_fit(salt, "a"), short_fit(salt, "b")
    assert equal(one, other)


def test_another_seed_gives_other_weights(salt):
    one, other = short_fit(salt, "a"), short_fit(salt, "b", "--seed_everything=43")
    assert not equal(one, other)


def test_a_dictionary_that_no_task_asks_for_need_not_be_given(salt, dataset):
    train = dataset()
    (train.parent / "class_dict.yaml").unlink()
    options = ("--data.train_file", train, "--data.val_file", train)
    answer = salt("fit", "--config", "simple.yaml", "-ls", "a", *SHORT, *options)
    assert answer.code == 0, answer.err
    assert not Path("logs/simple_a/class_dict.yaml").exists()
    assert (
        f"filled data.norm_dict = {train.with_name('norm_dict.yaml')} from the folder of data.train_file" in answer.err
    )


def test_a_run_that_ends_before_its_first_validation_keeps_its_model(salt):
    answer = salt("fit", "--config=simple.yaml", "-ls=a", "--trainer.max_steps=3", *SMALL)
    assert answer.code == 0, answer.err
    assert "nothing was validated" in answer.err
    assert [path.name for path in Path("logs/simple_a/ckpts").iterdir()] == ["epoch=000-step=3.ckpt"]
    answer = salt("test", "logs/simple_a")
    assert answer.code == 0, answer.err
    assert "taking the newest, epoch=000-step=3.ckpt" in answer.err

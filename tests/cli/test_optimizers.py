"""model.optimizer and lrs_config.schedule from the command line and from YAML."""

import pytest
import yaml

FEW = ("--data.num_train=200", "--data.num_val=100", "--trainer.max_epochs=1", "--data.batch_size=50",
       "--trainer.log_every_n_steps=1")  # fmt: skip


@pytest.fixture
def fit(salt, overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*options, **model):
        files = ("--config", overlay(model=model)) if model else ()
        return salt("fit", "--config", "simple.yaml", *files, *FEW, "-ls=run", *options)

    return run


def written(tmp_path):
    return yaml.safe_load((tmp_path / "logs" / "simple_run" / "config.yaml").read_text())["model"]


@pytest.mark.parametrize("name", ["lion", "HybridMuonAdamW", "salt.optim.HybridMuonAdamW", "torch.optim.RAdam"])
def test_an_optimiser_is_named_on_the_command_line(fit, tmp_path, name):
    answer = fit(f"--model.optimizer={name}")
    assert answer.code == 0, answer.err
    assert written(tmp_path)["optimizer"] == name


def test_a_class_with_arguments_is_kept_as_it_was_written(fit, tmp_path):
    choice = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
    answer = fit(optimizer=choice)
    assert answer.code == 0, answer.err
    assert written(tmp_path)["optimizer"] == choice


def test_the_class_path_of_older_files_is_read(fit, tmp_path):
    answer = fit(optimizer={"class_path": "salt.optim.HybridMuonAdamW", "init_args": {"momentum": 0.9}})
    assert answer.code == 0, answer.err
    assert written(tmp_path)["optimizer"]["init_args"] == {"momentum": 0.9}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.optimizer=adamw"], ["unknown optimizer 'adamw' in model.optimizer; nearest: AdamW"]),
        (["--model.lrs_config.schedule=cosinus"], ["model.lrs_config.schedule", "expected one of", "cosine"]),
        (["--model.lrs_config.pct_start=2"], ["model.lrs_config.pct_start is 2", "from 0 to 1"]),
    ],
)
def test_a_wrong_word_is_named_before_any_file_is_read(fit, options, words):
    answer = fit("--data.train_file=nowhere.h5", *options)
    assert answer.code == 2
    assert [word for word in words if word not in answer.error] == []


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ({"class_path": "torch.optim.Adamm"}, "unknown optimizer 'torch.optim.Adamm'"),
        ({"class_path": "torch.optim.SGD", "init_args": {"momentom": 0.9}}, "momentum"),
        ({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.9}}, "give model.lrs_config.max instead"),
    ],
)
def test_a_wrong_class_or_argument_is_named(fit, optimizer, words):
    answer = fit("--data.train_file=nowhere.h5", optimizer=optimizer)
    assert answer.code == 2
    assert words in answer.error


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_a_schedule_is_named_in_the_config(fit, tmp_path, schedule):
    answer = fit(lrs_config={"schedule": schedule, "warmup_steps": 2})
    assert answer.code == 0, answer.err
    assert written(tmp_path)["lrs_config"]["schedule"] == schedule


def test_a_training_without_an_end_is_possible(fit):
    answer = fit("--trainer.max_epochs=-1", "--trainer.limit_train_batches=2", "--trainer.max_time=00:00:00:01",
                 "--model.lrs_config.schedule=wsd")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "the training has no end" in answer.err


def test_upstreams_recipe_for_a_longer_training_is_accepted(fit):
    answer = fit("--model.lrs_config.last_epoch=0")
    assert answer.code == 0, answer.err

"""What a run keeps of itself, and what of that gives the same run again."""

import contextlib
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.loggers.logger import DummyLogger

from salt.cli.lightning import SaltCLI
from salt.training.module import SaltModule

SHORT = (
    "--config=simple.yaml", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--data.num_train=200",
    "--data.num_val=100", "--data.batch_size=100", "-ls=a",
)  # fmt: skip
KEY = "f00dcafe12345678"

UPSTREAM = [
    "train_file", "val_file", "num_train", "num_val", "batch_size", "trainable_params", "num_gpus", "gpu_ids",
    "num_workers", "available_train", "num_unique_jets_train", "dsids", "jet_counts_train", "pp_config_train",
    "object_classes", "available_val", "num_unique_jets_val", "jet_counts_val", "pp_config_val", "salt_hash",
    "out_dir", "log_url", "timestamp", "torch_version", "lightning_version", "cuda_version", "hostname",
]  # fmt: skip


def weights_of(run):
    (path,) = (run / "ckpts").glob("*.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


def read(run, name):
    return yaml.safe_load((run / name).read_text())


@pytest.fixture
def fit(salt):
    """Fit for an epoch, and give the run and what was said."""

    def run(*options, suffix="a"):
        answer = salt("fit", *SHORT, *options)
        assert answer.code == 0, answer.err
        return Path(f"logs/simple_{suffix}").absolute(), answer

    return run


@pytest.fixture
def git(tmp_path, monkeypatch):
    """The folder that we are in as a repository with one commit."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")

    def run(*arguments):
        return subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    run("init", "-q", "-b", "trunk")
    (tmp_path / "notes.txt").write_text("one\n")
    run("add", "notes.txt")
    run("commit", "-q", "-m", "first")
    return run


def test_the_metadata_begin_with_upstreams_keys_in_its_order(finished_run):
    metadata = read(finished_run[0], "metadata.yaml")
    assert list(metadata)[: len(UPSTREAM)] == UPSTREAM
    assert (metadata["num_train"], metadata["available_train"], metadata["batch_size"]) == (2000, 2000, 250)
    assert metadata["object_classes"] == {0: "bjets", 1: "cjets", 2: "ujets", 3: "taujets"}
    assert metadata["pp_config_train"]["process"] == "ttbar"
    assert metadata["out_dir"] == str(finished_run[0])


def test_the_metadata_say_where_a_run_comes_from(finished_run):
    metadata = read(finished_run[0], "metadata.yaml")
    assert metadata["command"].startswith("salt fit --config configs/gnn.yaml --trainer.max_epochs=2")
    assert metadata["packages"]["torch"] == torch.__version__
    assert metadata["files"]["train"][0]["path"] == metadata["train_file"]
    assert metadata["seed"] == 42
    assert "HOME" not in metadata["environment"]


def test_the_state_says_how_it_went(finished_run):
    state = read(finished_run[0], "state.yaml")
    assert (state["state"], state["epoch"], state["epochs"], state["pid"]) == ("finished", 2, 2, os.getpid())
    names = [path.name for path in (finished_run[0] / "ckpts").iterdir()]
    assert any(f"={state['best']['value']:.5f}." in name for name in names)
    assert state["metrics"].keys() >= {"val/loss", "val/track_origin_loss"}


def test_a_run_that_fails_says_why(salt, monkeypatch):
    def broken(self, batch, batch_idx):
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(SaltModule, "training_step", broken)
    with pytest.raises(RuntimeError):
        salt("fit", *SHORT)
    state = read(Path("logs/simple_a"), "state.yaml")
    assert (state["state"], state["reason"]) == ("failed", "RuntimeError: no memory")
    assert state["ended"] is not None


def test_a_run_that_is_told_to_end_was_interrupted(salt, monkeypatch):
    def told(self, batch, batch_idx):
        raise SystemExit(143)

    monkeypatch.setattr(SaltModule, "training_step", told)
    assert salt("fit", *SHORT).code == 143
    state = read(Path("logs/simple_a"), "state.yaml")
    assert (state["state"], state["reason"]) == ("interrupted", "SIGTERM (exit code 143)")


def test_the_config_gives_the_same_run_from_any_directory(salt, fit, dataset, tmp_path):
    dataset()
    run, _ = fit("--data.train_file=mine/sampl*.h5", "--data.val_file=[mine/sample.h5]", "--data.store_dir=stores")
    config = read(run, "config.yaml")
    assert config["data"]["train_file"] == str(tmp_path / "mine" / "sampl*.h5")
    assert config["data"]["val_file"] == [str(tmp_path / "mine" / "sample.h5")]
    assert config["data"]["store_dir"] == str(tmp_path / "stores")
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        answer = salt("fit", "--config", run / "config.yaml")
        assert answer.code == 0, answer.err
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (again,) = {path for path in run.parent.iterdir() if path != run}
    one, other = weights_of(run), weights_of(again)
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (read(each, "config.yaml") for each in (run, again))
    for each in (first, second):
        for key in ("norm_dict", "class_dict"):
            assert Path(each["data"].pop(key)).is_absolute()
        each["trainer"].pop("default_root_dir")
        each["trainer"]["logger"]["init_args"].pop("save_dir")
        each.pop("log_suffix")
    assert first == second


def test_dictionaries_of_one_name_are_both_kept(fit, dataset):
    folder = dataset().parent
    (folder / "classes").mkdir()
    shutil.move(folder / "class_dict.yaml", folder / "classes" / "norm_dict.yaml")
    run, _ = fit("--data.norm_dict=mine/norm_dict.yaml", "--data.class_dict=mine/classes/norm_dict.yaml")
    data = read(run, "config.yaml")["data"]
    assert Path(data["norm_dict"]).read_bytes() == (folder / "norm_dict.yaml").read_bytes()
    assert Path(data["class_dict"]).read_bytes() == (folder / "classes" / "norm_dict.yaml").read_bytes()


def test_a_key_is_written_nowhere(fit, git, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", KEY)
    (tmp_path / "notes.txt").write_text(f"my key is {KEY}\n")
    run, answer = fit("--name=simple", f"--data.test_file=https://me:{KEY}@example.org/a.h5")
    for file in run.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes(), file
    assert "notes.txt" in (run / "diff.patch").read_text()
    assert KEY not in answer.out + answer.err


def test_changes_that_are_in_no_commit_are_kept_and_said(fit, git, tmp_path):
    (tmp_path / "notes.txt").write_text("two\n")
    run, answer = fit()
    assert "+two" in (run / "diff.patch").read_text()
    metadata = read(run, "metadata.yaml")
    assert metadata["git"]["commit"] == git("rev-parse", "HEAD").strip()
    assert metadata["git"]["dirty"] is True
    assert "are in no commit" in answer.err


def test_a_run_can_tag_its_commit(fit, git):
    run, _ = fit("--tag")
    assert git("tag").split() == ["salt/simple_a"]
    assert read(run, "metadata.yaml")["tag"] == "salt/simple_a"


def test_a_tag_that_cannot_be_had_stops_the_run_before_it_leaves_anything(salt, git):
    git("tag", "salt/simple_a")
    answer = salt("fit", *SHORT, "--tag")
    assert answer.code == 2
    assert "already exists" in answer.error
    assert "--force" in answer.error
    assert not Path("logs").exists()


def test_force_goes_on_without_a_tag(fit, git):
    git("tag", "salt/simple_a")
    run, answer = fit("-t", "-f")
    assert read(run, "metadata.yaml")["tag"] is None
    assert "already exists" in answer.err


def test_overwrite_config_takes_the_directory_of_a_run_and_keeps_its_config(fit):
    run, _ = fit()
    before = (run / "config.yaml").read_text()
    fit("-oc", "--trainer.max_epochs=2")
    assert (run / "config-1.yaml").read_text() == before
    assert read(run, "config.yaml")["trainer"]["max_epochs"] == 2


def test_a_config_that_is_changed_for_going_on_says_what_changed(salt, fit, dataset):
    dataset()
    run, _ = fit("--data.train_file=mine/sample.h5", "--data.val_file=mine/sample.h5")
    (checkpoint,) = (run / "ckpts").glob("*.ckpt")
    dataset(lambda name, records: records[:1500])
    options = ("--ckpt_path", checkpoint, "--trainer.max_epochs=2", "-ls=b")
    answer = salt("fit", "--config", run / "config.yaml", *options)
    assert answer.code == 0, answer.err
    changed = [line for line in answer.err.splitlines() if "salt: changed since" in line]
    assert changed == [f"salt: changed since {run}: trainer.max_epochs: 1 -> 2"]
    assert f"data.train_file: {Path('mine/sample.h5').absolute()} has changed" in answer.err
    assert read(Path("logs/simple_b"), "metadata.yaml")["ckpt_path"] == str(checkpoint)
    assert read(Path("logs/simple_b"), "config.yaml")["ckpt_path"] is None


@pytest.fixture
def fit_inside(salt, monkeypatch):
    """Go on with a run inside its directory, as --resume does."""

    def run(folder, *options):
        before = SaltCLI.before_instantiate_classes

        def resumed(self):
            before(self)
            self.save_config_kwargs["is_resumed"] = True

        monkeypatch.setattr(SaltCLI, "before_instantiate_classes", resumed)
        (checkpoint,) = (folder / "ckpts").glob("*.ckpt")
        own = ("--config", folder / "config.yaml", "--ckpt_path", checkpoint, "-ls=a", "-oc")
        answer = salt("fit", *own, *options)
        assert answer.code == 0, answer.err
        return answer

    return run


def test_a_run_that_goes_on_in_its_directory_keeps_its_config_and_notes_when(fit, fit_inside, monkeypatch):
    run, _ = fit()
    before, metadata = (run / "config.yaml").read_text(), read(run, "metadata.yaml")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    answer = fit_inside(run)
    assert (run / "config.yaml").read_text() == before
    assert not (run / "config-1.yaml").exists()
    assert "salt: changed since" not in answer.err
    after = read(run, "metadata.yaml")
    (entry,) = after.pop("resumed")
    assert Path(entry["ckpt_path"]).parent == run / "ckpts"
    assert after == {**metadata, "slurm_job_id": "77"}
    state = read(run, "state.yaml")
    assert (state["state"], state["slurm_job_id"]) == ("finished", "77")


def test_a_run_that_goes_on_with_other_options_keeps_both_configs(fit, fit_inside):
    run, _ = fit()
    before = (run / "config.yaml").read_text()
    answer = fit_inside(run, "--trainer.max_epochs=2")
    assert (run / "config-1.yaml").read_text() == before
    assert read(run, "config.yaml")["trainer"]["max_epochs"] == 2
    assert f"changed since {run}: trainer.max_epochs: 1 -> 2" in answer.err
    assert read(run, "metadata.yaml")["resumed"][0]["config_changed"] is True


def test_testing_a_run_that_went_on_takes_its_own_checkpoint(salt, fit):
    run, _ = fit()
    (checkpoint,) = (run / "ckpts").glob("*.ckpt")
    fit("--ckpt_path", checkpoint, "--trainer.max_epochs=2", "-ls=b", suffix="b")
    answer = salt("test", "logs/simple_b", "--data.num_test=50")
    assert answer.code == 0, answer.err
    assert len(list(Path("logs/simple_b/ckpts").glob("*__test_*.h5"))) == 1


def test_the_config_reaches_the_loggers(fit, monkeypatch):
    logged = []
    monkeypatch.setattr(DummyLogger, "log_hyperparams", lambda self, values, *_: logged.append(dict(values)))
    fit("--trainer.logger=lightning.pytorch.loggers.logger.DummyLogger")
    (values,) = [each for each in logged if each]
    assert values["data.batch_size"] == 100
    assert values["model.model.init_args.tasks.init_args.modules.0.init_args.name"] == "jets_classification"


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated.*:DeprecationWarning")  # torch's own doing
@pytest.mark.slow
def test_a_compiled_model_has_the_names_and_weights_of_one_that_is_not(fit, monkeypatch):
    plain, _ = fit()
    compiled = []
    eager = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: compiled.append(1) or eager(*args, **kwargs))
    run, _ = fit("--compile", "-ls=b", suffix="b")
    assert compiled
    one, other = weights_of(plain), weights_of(run)
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_save_config_callback_of_old_configs_is_accepted_and_does_nothing_more(fit, overlay):
    callbacks = [{"class_path": "salt.callbacks.Checkpoint"}, {"class_path": "salt.callbacks.SaveConfigCallback"}]
    run, answer = fit("--config", overlay(trainer={"callbacks": callbacks}))
    assert answer.err.count("SaveConfigCallback does nothing more") == 1
    assert (run / "config.yaml").is_file()


@pytest.mark.parametrize(("written", "batches"), [("1", 1), ("1.0", 3)])
def test_one_batch_is_one_batch_and_one_point_nought_all_of_them(salt, monkeypatch, written, batches):
    count = []
    step = SaltModule.validation_step
    monkeypatch.setattr(SaltModule, "validation_step", lambda self, *a: count.append(1) or step(self, *a))
    options = (f"--trainer.limit_val_batches={written}", "--trainer.num_sanity_val_steps=0", "--data.num_val=300")
    answer = salt("fit", *SHORT, *options)
    assert answer.code == 0, answer.err
    assert len(count) == batches
    shown = (Path("logs/simple_a/config.yaml")).read_text()
    assert f"limit_val_batches: {written}\n" in shown

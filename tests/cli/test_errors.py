"""Each mistake: one message that names it, what there is, where, and the mend; code 2; nothing begun, nothing left."""

import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from salt.cli.files import PACKAGED

TASK = "model.model.init_args.tasks.init_args.modules[0].init_args"


def nested(key, value):
    """A value under a dotted key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def model(**arguments):
    return {"model": {"model": {"init_args": arguments}}}


def task(class_path="salt.models.ClassificationTask", **changes):
    """The one task of simple.yaml, with other arguments."""
    arguments = {
        "name": "jets_classification",
        "input_name": "jets",
        "label": "flavour_label",
        "dense_config": {"input_size": 128, "output_size": 4},
    }
    modules = [{"class_path": class_path, "init_args": arguments | changes}]
    return model(tasks={"class_path": "torch.nn.ModuleList", "init_args": {"modules": modules}})


def net(name, class_path, **arguments):
    return model(**{name: {"class_path": class_path, "init_args": arguments}})


@pytest.fixture
def refusal(salt, overlay, tmp_path):
    """The message with which `fit` of simple.yaml, with these keys on top and these options, is refused."""

    def run(*options, base="simple.yaml", **content):
        files = ("--config", overlay(**content)) if content else ()
        before = {path for path in tmp_path.rglob("*") if path.name != "over.yaml"}
        answer = salt("fit", "--config", base, *files, *options)
        assert answer.code == 2, answer.err
        assert {path for path in tmp_path.rglob("*") if path.name != "over.yaml"} == before
        assert not any(sign in answer.err for sign in ("Traceback", "Namespace(", "Subtypes"))
        assert len(answer.error) < 1500
        assert "Epoch" not in answer.out
        return answer.error

    return run


# --- files that are not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["train_file", "val_file", "norm_dict", "class_dict"])
def test_a_missing_file_is_named_with_those_of_its_folder(refusal, dataset, key):
    folder = dataset().parent
    suffix = ".yaml" if key.endswith("dict") else ".h5"
    error = refusal(f"--data.{key}", folder / f"simple{suffix}", base="gnn.yaml")
    assert f"no file {folder}/simple{suffix} (data.{key})" in error
    assert {".h5": "sample.h5", ".yaml": "norm_dict.yaml"}[suffix] in error
    assert f"mend: correct data.{key}, or give --data.{key}=FILE" in error


def test_a_missing_config_is_answered_with_the_nearest_here_and_in_the_package(refusal, overlay):
    overlay("my_tagger.yaml")
    error = refusal(base="simpel.yaml")
    assert "no file simpel.yaml (--config)" in error
    assert "my_tagger.yaml" in error
    assert "salt ships: simple.yaml" in error


def test_a_config_that_is_named_by_no_file_is_asked_for(refusal):
    assert "--config is the last argument: name a file after it" in refusal("--config")


def test_a_missing_run_says_that_there_are_none(salt):
    answer = salt("test", "logs/GNN_1")
    assert answer.code == 2
    assert "no run logs/GNN_1 (a directory with config.yaml)" in answer.error
    assert "no runs" in answer.error


# --- names that are not in the file ---------------------------------------------------------------------------------


def test_an_unknown_variable_is_answered_with_the_nearest(refusal):
    error = refusal(data={"variables": {"tracks": ["d00", "z0SinTheta"]}})
    assert "unknown variable 'd00' in dataset 'tracks' of " in error
    assert "sample.h5 (data.train_file), data.variables.tracks; nearest: d0," in error
    assert "mend: correct the name in data.variables.tracks" in error


def test_an_unknown_stream_is_answered_with_the_datasets(refusal):
    error = refusal(data={"variables": {"track": ["d0"]}})
    assert "unknown dataset 'track' in " in error
    assert "nearest: tracks" in error


def test_an_unknown_label_is_answered_with_the_nearest(refusal):
    error = refusal(**task(label="flavor_label"))
    assert "unknown label 'flavor_label' in dataset 'jets' of " in error
    assert f"(data.train_file), {TASK}.label; nearest: flavour_label," in error


def test_an_unknown_variable_of_the_validation_file_is_found_too(refusal, dataset):
    folder = dataset(lambda name, x: x[[n for n in x.dtype.names if n != "d0"]] if name == "tracks" else None).parent
    error = refusal("--data.val_file", folder / "sample.h5")
    assert f"unknown variable 'd0' in dataset 'tracks' of {folder}/sample.h5" in error


# --- keys -----------------------------------------------------------------------------------------------------------

POOL = "salt.models.GlobalAttentionPooling"
ENCODER = "salt.models.Transformer"
WIDE = {"num_layers": 1, "embed_dim": 128}
KEYS = {
    "modell": (nested("modell", 1), "model"),
    "data.batchsize": (nested("data.batchsize", 3), "batch_size"),
    "trainer.max_epoch": (nested("trainer.max_epoch", 3), "max_epochs"),
    "model.lr_config": (nested("model.lr_config", {}), "lrs_config"),
    "model.lrs_config.maximum": (nested("model.lrs_config.maximum", 1), "max"),
    "model.model.init_args.pool_nett": (model(pool_nett=None), "pool_net"),
    "model.model.init_args.pool_net.init_args.inputsize": (net("pool_net", POOL, inputsize=1), "input_size"),
    "model.model.init_args.pool_net.arguments": (model(pool_net={"class_path": POOL, "arguments": {}}), "init_args"),
    f"{TASK}.labels": (task(labels="x"), "label"),
    f"{TASK}.dense_config.output": (task(dense_config={"input_size": 128, "output": 4}), "output_size"),
    "model.model.init_args.encoder.init_args.attn_kwargs.num_head": (
        net("encoder", ENCODER, **WIDE, attn_kwargs={"num_head": 2}), "num_heads",
    ),
    "model.model.init_args.encoder.init_args.dense_kwargs.activations": (
        net("encoder", ENCODER, **WIDE, dense_kwargs={"activations": "ReLU"}), "activation",
    ),
    "model.model.init_args.init_nets[0].input_names": (model(init_nets=[{"input_names": "tracks"}]), "input_name"),
    "model.model.init_args.init_nets[0].dense_config.hidden_layer": (
        model(init_nets=[{"input_name": "tracks", "dense_config": {"hidden_layer": [3]}}]), "hidden_layers",
    ),
    "trainer.callbacks[0].init_args.monitor": (
        nested("trainer.callbacks", [{"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor": "x"}}]),
        "monitor_loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_key_of_a_config_is_answered_with_the_nearest(refusal, key):
    content, nearest = KEYS[key]
    error = refusal(**content)
    assert f"unknown key {key} in over.yaml; nearest: {nearest}" in error
    assert f"mend: write {nearest}" in error


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("data.batchsize", "batch_size"),
        ("trainer.max_epoch", "max_epochs"),
        ("nmae", "name"),
        ("model.model.init_args.pool_net.init_args.inputsize", "input_size"),
        ("model.model.pool_net.inputsize", "input_size"),
        ("model.lrs_config.maximum", "max"),
    ],
)
@pytest.mark.parametrize("form", ["two", "one"])
def test_an_unknown_option_is_answered_with_the_nearest(refusal, option, nearest, form):
    error = refusal(*([f"--{option}", "3"] if form == "two" else [f"--{option}=3"]))
    assert f"unknown key {option} on the command line; nearest: {nearest}" in error


def test_arguments_of_a_known_class_can_be_given_in_an_overlay_that_does_not_repeat_the_class(salt, overlay):
    over = overlay(**model(pool_net={"init_args": {"input_size": 128}}))
    assert salt("fit", "--config", "simple.yaml", "--config", over, "--trainer.fast_dev_run=1").code == 0


def test_several_unknown_keys_are_told_at_once(refusal):
    error = refusal(**nested("data.batchsize", 3), **nested("trainer.max_epoch", 3))
    assert "data.batchsize" in error
    assert "trainer.max_epoch" in error


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["over.yaml", "the command line"])
def test_a_wrong_type_is_named_with_its_key_and_place(refusal, where):
    error = refusal(**nested("data.batch_size", "abc")) if "over" in where else refusal("--data.batch_size", "abc")
    assert f"data.batch_size ({where}): expected a whole number, got 'abc'" in error


def test_a_wrong_type_deep_in_the_model_is_named_with_its_key(refusal):
    error = refusal(**net("pool_net", POOL, input_size="abc"))
    assert "pool_net.init_args.input_size (over.yaml): expected a whole number, got 'abc'" in error


def test_a_value_that_is_none_of_those_allowed_is_answered_with_them(refusal):
    error = refusal("--model.loss_mode", "sum")
    assert "model.loss_mode (the command line): expected one of 'wsum', 'GLS', got 'sum'" in error


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (nested("model.model.class_path", "salt.models.SaltModle"), "unknown class 'SaltModle' in salt.models"),
        (net("pool_net", "salt.models.GlobalAtention", input_size=1), "nearest: GlobalAttentionPooling,"),
        (task("salt.models.ClasificationTask"), "nearest: ClassificationTask,"),
        (task("saltt.models.ClassificationTask"), "nearest classes: salt.models.ClassificationTask,"),
        (nested("trainer.callbacks", [{"class_path": "salt.callbacks.CheckPoint"}]), "nearest: Checkpoint,"),
        (nested("model.model.class_path", "SaltModle"), "nearest: salt.models.SaltModel,"),
        (net("pool_net", "salt.models.Dense", input_size=1), "not correspond to a subclass of Pooling"),
    ],
)
def test_an_unknown_class_is_answered_with_the_nearest(refusal, content, says):
    error = refusal(**content)
    assert says in error
    assert "over.yaml" in error


def test_an_argument_that_is_missing_is_named_with_its_class(refusal):
    content = task()
    del content["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][0]["init_args"]["label"]
    assert "label of salt.models.ClassificationTask is not given" in refusal(**content)


def test_an_argument_of_an_inner_class_that_is_missing_is_named(refusal):
    nets = [{"input_name": "tracks", "pos_enc": {"variables": ["d0"]}, "dense_config": {"output_size": 8}}]
    assert "a PositionalEncoder needs 'dim'" in refusal(**model(init_nets=nets))


def test_a_loss_that_a_task_does_not_know_is_answered_with_the_one_it_knows(refusal):
    error = refusal(**task(loss="torch.nn.MSELoss"))
    assert "loss MSELoss is not known for classification; there is torch.nn.CrossEntropyLoss" in error


def test_a_config_without_a_model_says_so(salt):
    answer = salt("fit")
    assert answer.code == 2
    assert "no model: model.model is not given" in answer.error


def test_a_loss_that_nothing_logs_cannot_name_checkpoints(refusal):
    callbacks = [{"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor_loss": "val/flavor_loss"}}]
    error = refusal(**task(name="flavour"), trainer={"callbacks": callbacks})
    assert "unknown loss 'val/flavor_loss'" in error
    assert "nearest: val/flavour_loss," in error


# --- classes and widths ---------------------------------------------------------------------------------------------


def test_a_class_count_other_than_the_file_has_is_named_with_the_classes(refusal):
    error = refusal(**task(dense_config={"input_size": 128, "output_size": 3}))
    assert "has dense_config.output_size 3, but flavour_label has 4 classes: bjets, cjets, ujets, taujets" in error
    assert f"mend: set {TASK}.dense_config.output_size to 4" in error


def test_a_class_count_other_than_the_class_dict_has_is_named(refusal, tmp_path):
    weights = yaml.safe_load((PACKAGED / "class_dict.yaml").read_text())
    weights["jets"]["flavour_label"] = [1.0, 2.0, 3.0]
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump(weights))
    error = refusal("--data.class_dict=weights.yaml", base="gnn.yaml")
    assert "weights.yaml (data.class_dict) has 3 weights for flavour_label of 'jets'" in error
    assert "dense_config.output_size 4" in error


def test_a_label_without_weights_is_answered_with_those_that_have(refusal):
    error = refusal(**task(label="HadronConeExclTruthLabelID", use_class_dict=True, class_names=list("abcd")))
    assert "unknown label 'HadronConeExclTruthLabelID' in 'jets' of " in error
    assert "class_dict.yaml (data.class_dict); nearest: flavour_label" in error


@pytest.mark.parametrize("name", ["torch.nn.CrossEntropyLos", "CrossEntropyLos"])
def test_an_unknown_loss_is_answered_with_the_nearest(refusal, name):
    error = refusal(**task(loss=name))
    assert f"unknown loss 'CrossEntropyLos' in torch.nn ({TASK}.loss); nearest: CrossEntropyLoss," in error


def test_a_label_that_no_class_is_for_is_named(refusal):
    error = refusal(**task(label="HadronConeExclTruthLabelID", class_names=list("abcd")))
    assert "has the value 15, but task 'jets_classification' knows the classes 0 to 3" in error
    assert f"or give {TASK}.label_map: {{15: -1}} leaves it out" in error


def test_a_value_that_the_map_does_not_name_needs_a_class_too(refusal):
    of_map = {"label": "HadronConeExclTruthLabelID", "class_names": list("abcd"), "label_map": {4: 1, 5: 2}}
    assert "has the value 15, but task 'jets_classification' knows" in refusal(**task(**of_map))


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        (net("pool_net", POOL, input_size=64), "model.model.init_args.pool_net.init_args.input_size", 128),
        (task(dense_config={"input_size": 64, "output_size": 4}), f"{TASK}.dense_config.input_size", 128),
        (net("encoder", ENCODER, num_layers=1, embed_dim=64), "model.model.init_args.encoder.init_args.embed_dim", 128),
    ],
)
def test_a_width_that_does_not_fit_is_named_with_what_it_has_to_be(refusal, content, key, expected):
    error = refusal(**content)
    assert f"{key} is 64, but " in error
    assert f"mend: set {key} to {expected}" in error


def test_the_input_of_an_init_net_follows_from_the_variables(refusal):
    nets = [{"input_name": "tracks", "dense_config": {"input_size": 3, "output_size": 128}}]
    assert "dense_config.input_size is 3, but data.variables gives 19 of 'tracks' and 2" in refusal(
        **model(init_nets=nets)
    )


# --- files that are there, but wrong --------------------------------------------------------------------------------


def test_the_samples_dictionaries_are_refused_for_another_file(refusal, dataset):
    train = dataset()
    for name in ("norm_dict.yaml", "class_dict.yaml"):
        (train.parent / name).unlink()
    error = refusal("--data.train_file", train, base="gnn.yaml")
    for key in ("val_file", "norm_dict", "class_dict"):
        assert f"data.{key} is still that of the package's sample, but data.train_file is {train}" in error
        assert f"give --data.{key}=FILE" in error


def test_a_value_that_is_not_finite_is_named_with_its_jet(refusal, dataset):
    def spoil(name, records):
        if name == "tracks":
            records["d0"][7, 0], records["valid"][7, 0] = np.nan, True
            return records
        return None

    train = dataset(spoil)
    error = refusal("--data.train_file", train, "--data.val_file", train)
    assert f"d0 is nan in jet 7 of {train}, dataset 'tracks'" in error


def test_a_file_that_is_no_hdf5_says_so(refusal, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    error = refusal("--data.train_file=text.h5")
    assert "text.h5 (data.train_file) cannot be read: it is cut short, damaged, or not an HDF5 file" in error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b\n", "bad.yaml (--config) holds a list; a config is a mapping"),
        ("", "bad.yaml (--config) is empty; a config is a mapping"),
        ("data: {batch_size: [1\nname: x\n", "bad.yaml, line 2 (--config) is not YAML"),
    ],
)
def test_a_config_that_is_no_mapping_says_what_it_is(refusal, tmp_path, text, says):
    (tmp_path / "bad.yaml").write_text(text)
    assert says in refusal(base="bad.yaml")


@pytest.mark.parametrize("key", ["norm_dict", "class_dict"])
@pytest.mark.parametrize(("text", "says"), [("- 1\n", "holds list, not a mapping"), ("a: [1\n", "is not YAML")])
def test_a_dictionary_that_is_no_mapping_says_what_it_is(refusal, tmp_path, key, text, says):
    (tmp_path / "bad.yaml").write_text(text)
    error = refusal(f"--data.{key}=bad.yaml", base="gnn.yaml")
    assert "bad.yaml" in error
    assert f"data.{key}" in error
    assert says in error


def test_a_variable_without_a_width_is_named(refusal, tmp_path):
    norms = yaml.safe_load((PACKAGED / "norm_dict.yaml").read_text())
    norms["tracks"]["d0"]["std"] = 0.0
    (tmp_path / "norms.yaml").write_text(yaml.safe_dump(norms))
    error = refusal("--data.norm_dict=norms.yaml")
    assert "d0 of 'tracks' in norms.yaml (data.norm_dict)" in error
    assert "std must not be 0" in error


# --- the command itself ---------------------------------------------------------------------------------------------


def test_an_unknown_verb_is_answered_with_the_nearest(salt):
    answer = salt("fitt", "--config", "gnn.yaml")
    assert answer.code == 2
    assert answer.error.startswith("salt: error: unknown verb 'fitt'; there are fit,")


def test_an_argument_that_is_no_option_is_named(refusal):
    assert "no option: gnn.yaml" in refusal("gnn.yaml")


def test_debugging_shows_where_an_error_was_raised(salt, monkeypatch):
    monkeypatch.setenv("SALT_DEBUG", "1")
    with pytest.raises(FileNotFoundError, match=r"no file nope\.yaml"):
        salt("fit", "--config", "nope.yaml")


def test_an_interrupted_command_says_so(monkeypatch):
    from salt.cli import main

    def interrupt():
        raise KeyboardInterrupt

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert main.guard(interrupt) != 0
    assert err.getvalue().startswith("salt: error: interrupted")


def test_a_folder_given_as_a_run_without_a_config_says_so(salt, tmp_path):
    Path("logs/x").mkdir(parents=True)
    answer = salt("test", "logs/x")
    assert answer.code == 2
    assert "no run logs/x (a directory with config.yaml)" in answer.error
    shutil.rmtree("logs")

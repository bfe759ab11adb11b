"""Every YAML file that the package ships, and those of tests/configs: they parse, build, train, and are tested.

Those of tests/configs have between them whatever published configs have: each is right on packed tokens as on padded.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from salt.cli.configs import merged, read
from salt.cli.documents import document
from salt.cli.files import NO_MODELS, PACKAGED
from salt.cli.lightning import BASE, SaltCLI
from salt.data.objects import OBJECTS
from salt.models.maskformer import OBJECT_MASKS
from salt.ragged import Ragged
from salt.types import Batch
from tests.models.padded import Padded

OVERLAYS = {"gn2_size.yaml": "gnn.yaml"}
"""Configs that go on top of another."""

MODELS = sorted(path.name for path in PACKAGED.glob("*.yaml") if path.name not in NO_MODELS)

OURS = sorted((Path(__file__).parent / "configs").glob("*.yaml"))

CLASSES = """
    salt.models.TransformerEncoder salt.models.TransformerCrossAttentionEncoder salt.models.ScaledDotProductAttention
    salt.models.SaltModel torch.nn.ModuleList salt.models.GlobalAttentionPooling salt.models.ClassificationTask
    salt.models.TransformerV2 salt.models.transformer_v2.TransformerV2 salt.models.VertexingTask
    salt.models.RegressionTask salt.models.GaussianRegressionTask salt.models.R21Xbb salt.models.PositionalEncoder
    salt.utils.scalers.RegressionTargetScaler torch.nn.CrossEntropyLoss torch.nn.BCEWithLogitsLoss torch.nn.L1Loss
    torch.nn.MSELoss MSELoss GaussianNLLLoss CrossEntropyLoss salt.callbacks.Checkpoint
    salt.callbacks.PredictionWriter salt.callbacks.ConfusionMatrixCallback
    pytorch_lightning.callbacks.LearningRateMonitor lightning.pytorch.callbacks.TQDMProgressBar
    lightning.pytorch.callbacks.ModelSummary lightning.pytorch.loggers.comet.CometLogger salt.models.NodeQueryGAP
    salt.models.maskformer.MaskDecoder salt.models.Dense salt.callbacks.MaskformerMetrics salt.models.JetTagger
    salt.models.GATv2Attention salt.models.Transformer salt.models.Task
"""
"""Class paths, and losses by their names alone, that published configs have."""

KEYS = """
    mha_config attention out_proj input_names sa_dense_config ca_dense_config
    name model data trainer seed_everything optimizer loss_mode lrs_config initial max end pct_start weight_decay
    last_epoch init_nets tasks pool_net encoder featurewise_nets merge_dict modules input_name dense_config
    attach_global output_size hidden_layers activation final_activation input_size dropout context_size pos_enc
    layer dense_config_scale dense_config_bias num_layers embed_dim out_dim norm norm_type attn_type do_final_norm
    num_registers drop_registers dense_kwargs gated attn_kwargs num_heads label loss weight class_names
    use_class_dict label_map sample_weight reduction targets target_denominators norm_params mean std
    custom_output_names scaler scales op x_scale x_off op_scale op_off variables global_object input_map train_file
    val_file test_file norm_dict class_dict batch_size num_workers num_train num_val num_test selections
    non_finite_to_num num_inputs labeller_config use_labeller require_labels parameters multi_target sel_label opp
    value custom_target source persistent_workers prefetch_factor max_epochs accelerator devices num_nodes precision
    log_every_n_steps default_root_dir logger callbacks monitor_loss write_tracks jet_variables track_variables
    jet_classes refresh_rate max_depth task_name class_names_override
    edge_init_nets edge_constructors edge_features edge_embed_dim update_edges dR z kt subjetIndex isSelfLoop
    mask_decoder num_objects aux_loss md_config mask_attention bidirectional_ca n_heads class_net mask_net loss_config
    num_classes loss_weights object_class_ce mask_ce mask_dice mask_focal regression matcher_weights null_class_weight
    losses mf_config object id_label class_label object_classes raw mapped constituent objects write_objects log exp
    linear mup mup_config shape_path apply_to parameter_name parameter_base parameter_delta project
    start init_net gnn jet_net track_net net embd_dim head_dim residual norm_layer out_proj batched_read
    num_jets_train num_jets_val num_jets_test
"""
"""Their keys."""

SHORT = [
    "--data.batch_size=50", "--data.num_workers=0", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1", "--trainer.log_every_n_steps=1", "--log_suffix=run",
]  # fmt: skip


def test_the_documented_configs_are_there():
    assert {"base.yaml", "gnn.yaml", "simple.yaml", "gn2_size.yaml"} <= {path.name for path in PACKAGED.iterdir()}


@pytest.mark.parametrize("name", MODELS)
def test_a_packaged_config_trains(salt, name):
    files = [OVERLAYS[name], name] if name in OVERLAYS else [name]
    configs = [argument for file in files for argument in ("--config", f"configs/{file}")]
    answer = salt("fit", *configs, "--trainer.fast_dev_run=2", "--data.batch_size=50")
    assert answer.code == 0, answer.err
    assert not Path("logs").exists()


def words(node) -> Iterator[str]:
    """All keys of a file, and all of its values that are text."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield str(key)
            yield from words(value)
    elif isinstance(node, list):
        for item in node:
            yield from words(item)
    elif isinstance(node, str):
        yield node


USED = {word for path in OURS for word in words(document(path.read_text()))}


@pytest.mark.parametrize("word", [*CLASSES.split(), *KEYS.split()])
def test_what_published_configs_have_is_in_one_of_ours(word):
    assert word in USED


@pytest.fixture
def options(monkeypatch, tmp_path):
    """Options that give a config files with all that it asks for."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    from config_data import make_files

    def make(config):
        content = merged([read(BASE), read(config)])
        files = make_files(content, tmp_path / "files")
        return [f"--data.{key}={path}" for key, path in files.items() if content["data"].get(key) is not None]

    return make


DAILY = {"tagger"}
"""What is trained and tested in every run of the tests; make test-all does so with all of them."""


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, marks=[] if path.stem in DAILY else pytest.mark.slow, id=path.stem) for path in OURS],
)
def test_a_config_trains_and_is_tested(salt, options, config):
    fit = salt("fit", "--config", config, *options(config), *SHORT)
    assert fit.code == 0, fit.err
    (run,) = Path("logs").iterdir()
    test = salt("test", run)
    assert test.code == 0, test.err
    assert list(run.glob("ckpts/*__test_*.h5"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
@pytest.mark.parametrize("name", ["edges", "maskformer", "regression", "tagger"])
def test_a_config_trains_in_another_precision(salt, options, name, precision):
    (config,) = (path for path in OURS if path.stem == name)
    fit = salt("fit", "--config", config, *options(config), *SHORT, f"--trainer.precision={precision}")
    assert fit.code == 0, fit.err
    (run,) = Path("logs").iterdir()
    test = salt("test", run)
    assert test.code == 0, test.err


class Built(SaltCLI):
    """What `fit` builds, and does not train."""

    def before_fit(self) -> None:
        """There is no run."""

    def fit(self, model, datamodule, **_) -> None:
        """Open the jets."""
        datamodule.setup("fit")


def in_double(batch: Batch) -> Batch:
    """The same jets in float64."""

    def exact(x):
        return x.double() if x.is_floating_point() else x

    inputs = {
        s: x.with_values(x.values.double()) if isinstance(x, Ragged) else x.double() for s, x in batch.inputs.items()
    }
    labels = {s: {k: exact(v) for k, v in of.items()} for s, of in batch.labels.items()}
    return Batch(inputs, labels, batch.index, batch.columns)


def in_slots(batch: Batch, model) -> Batch:
    """The same jets, labels and columns of constituents in slots: -1, or NaN, where there is none."""

    def slots(value, stream):
        padded, layout = Padded.of(Ragged(value, stream.segments))
        return padded.where(layout.valid, torch.nan if padded.is_floating_point() else -1)

    def of_rows(content):
        return {
            name: {k: slots(v, x) for k, v in of.items()} if isinstance(x := batch.inputs.get(name), Ragged) else of
            for name, of in content.items()
        }

    labels = of_rows(batch.labels)
    if OBJECTS in labels:
        stream = batch.inputs[model.finder().constituents]
        masks = Padded.of(Ragged(labels[OBJECTS]["masks"].long(), stream.segments))[0] > 0  # padding does not matter
        labels[OBJECTS] = {**labels[OBJECTS], "masks": masks}
    return Batch(batch.inputs, labels, batch.index, of_rows(batch.columns))


def rows(output, stream):
    """What is said of real constituents, out of slots."""
    return output[Padded.of(stream)[1].valid] if isinstance(stream, Ragged) else output


def evaluated(model, batch, *house):
    """Losses, as sum and count, gradients of their means, and physical values."""
    model.zero_grad()
    preds = model(batch.inputs, *house)
    losses = model.losses(preds, batch, *house)
    sum(total / count.clamp(min=1e-9) for total, count in losses.values()).backward()
    found = {f"{task}.{part}": v for task, of in losses.items() for part, v in zip(("sum", "count"), of, strict=True)}
    found |= {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    outputs = model.outputs(preds, batch.inputs, batch.columns, *house)
    return found, {(task, name): value.detach() for task, of in outputs.items() for name, value in of.items()}


@pytest.mark.filterwarnings("ignore:[\\s\\S]*(jsonargparse|JsonargparseDep|subclass spec)")  # as the program does
@pytest.mark.parametrize("config", OURS, ids=lambda path: path.stem)
def test_packed_tokens_give_what_padded_ones_do(monkeypatch, tmp_path, options, config):
    monkeypatch.chdir(tmp_path)
    cli = Built("fit", ["fit", "--config", str(config), *options(config), *SHORT])
    batch = in_double(next(iter(cli.datamodule.train_dataloader())))
    module = cli.model.double().eval()  # without dropout
    batch = Batch(module.norm(batch.inputs), batch.labels, batch.index, batch.columns)
    model = module.model
    packed, packed_outputs = evaluated(model, batch)
    padded, padded_outputs = evaluated(model, in_slots(batch, model), Padded)
    assert packed.keys() == padded.keys()
    for name, value in padded.items():
        assert_same(packed[name].to(value.dtype), value, name)
    streams = {task.name: batch.inputs.get(task.input_name) for task in model.heads()}
    if model.finder() is not None:
        streams[OBJECT_MASKS] = batch.inputs[model.finder().constituents]
    assert packed_outputs.keys() == padded_outputs.keys()
    for (task, name), value in padded_outputs.items():
        assert_same(packed_outputs[task, name], rows(value, streams.get(task)), f"{task}.{name}")


def assert_same(packed, padded, name):
    torch.testing.assert_close(
        packed, padded, rtol=1e-12, atol=1e-12, equal_nan=True, msg=lambda text: f"{name}: {text}"
    )

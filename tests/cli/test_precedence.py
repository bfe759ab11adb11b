import pytest
import yaml

from salt.training.module import SaltModule


@pytest.fixture
def printed(salt):
    """The config that the parser makes of these arguments."""

    def run(*arguments):
        answer = salt("fit", *arguments, "--print_config")
        assert answer.code == 0, answer.err
        return yaml.safe_load(answer.out)

    return run


@pytest.fixture
def built(salt, monkeypatch):
    """The model that `fit` trains for a step with these arguments."""

    def run(*arguments):
        models = []
        step = SaltModule.training_step
        monkeypatch.setattr(SaltModule, "training_step", lambda self, *args: models.append(self) or step(self, *args))
        answer = salt("fit", *arguments, "--trainer.fast_dev_run=1", "--data.batch_size=20")
        assert answer.code == 0, answer.err
        return models[0].model

    return run


def test_base_is_loaded_without_being_named(printed):
    config = printed("--config", "simple.yaml")
    assert config["trainer"]["max_epochs"] == 100
    assert config["trainer"]["log_every_n_steps"] == 50


def test_a_config_goes_over_base_and_a_later_one_over_an_earlier(printed, overlay):
    first = overlay("first.yaml", name="first", trainer={"max_epochs": 7, "log_every_n_steps": 3})
    second = overlay("second.yaml", trainer={"max_epochs": 8})
    config = printed("--config", "simple.yaml", "--config", first, "--config", second)
    assert (config["name"], config["trainer"]["max_epochs"], config["trainer"]["log_every_n_steps"]) == ("first", 8, 3)


@pytest.mark.parametrize("is_first", [True, False])
def test_the_command_line_goes_over_all_configs_wherever_it_stands(printed, overlay, is_first):
    configs = ["--config", "simple.yaml", "--config", overlay(trainer={"max_epochs": 7})]
    option = ["--trainer.max_epochs", "9"]
    config = printed(*option, *configs) if is_first else printed(*configs, *option)
    assert config["trainer"]["max_epochs"] == 9


def test_mappings_merge(printed, overlay):
    over = overlay(data={"variables": {"jets": ["pt_btagJes"]}})
    variables = printed("--config", "simple.yaml", "--config", over)["data"]["variables"]
    assert variables["jets"] == ["pt_btagJes"]
    assert len(variables["tracks"]) == 19


def test_mappings_that_are_arguments_merge(printed, overlay):
    content = {"model": {"model": {"init_args": {"encoder": {"init_args": {"attn_kwargs": {"dropout": 0.1}}}}}}}
    config = printed("--config", "gnn.yaml", "--config", overlay(**content))
    encoder = config["model"]["model"]["init_args"]["encoder"]["init_args"]
    assert encoder["attn_kwargs"] == {"num_heads": 4, "dropout": 0.1}
    assert encoder["num_layers"] == 2


def test_lists_are_replaced_and_their_items_forget_the_arguments_of_those_before(printed, overlay):
    over = overlay(trainer={"callbacks": [{"class_path": "salt.callbacks.PredictionWriter"}] * 2})
    callbacks = printed("--config", "simple.yaml", "--config", over)["trainer"]["callbacks"]
    assert [callback["class_path"] for callback in callbacks] == ["salt.callbacks.PredictionWriter"] * 2
    assert [callback["init_args"]["write_tracks"] for callback in callbacks] == [False, False]


def test_another_class_forgets_the_arguments_of_the_one_before(printed, overlay):
    over = overlay(
        trainer={
            "logger": {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "x"}}
        }
    )
    logger = printed("--config", "simple.yaml", "--config", over)["trainer"]["logger"]
    assert logger["class_path"] == "lightning.pytorch.loggers.TensorBoardLogger"
    assert "flush_logs_every_n_steps" not in logger["init_args"]


def test_a_class_can_be_taken_out(printed, overlay):
    config = printed("--config", "simple.yaml", "--config", overlay(trainer={"logger": False}))
    assert config["trainer"]["logger"] is False


def test_numbers_without_a_point_are_numbers(printed, tmp_path):
    (tmp_path / "rates.yaml").write_text("model: {lrs_config: {initial: 1e-7, max: 5e-4}}")
    rates = printed("--config", "simple.yaml", "--config", "rates.yaml")["model"]["lrs_config"]
    assert (rates["initial"], rates["max"]) == (1e-7, 5e-4)


def test_gn2_size_on_top_of_gnn_is_four_layers_of_width_256(built):
    model = built("--config", "gnn.yaml", "--config", "gn2_size.yaml")
    assert len(model.encoder.layers) == 4
    assert model.encoder.input_size == 256
    assert [net.net.output_size for net in model.init_nets] == [256]
    assert model.pool_net.input_size == 128


def test_arguments_of_a_class_can_be_given_on_the_command_line(built):
    assert (
        len(built("--config", "gnn.yaml", "--model.model.init_args.encoder.init_args.num_layers=1").encoder.layers) == 1
    )


def test_the_printed_config_read_again_prints_the_same(printed, tmp_path):
    config = printed("--config", "gnn.yaml")
    (tmp_path / "printed.yaml").write_text(yaml.safe_dump(config))
    assert printed("--config", "printed.yaml") == config

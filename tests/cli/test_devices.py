import pytest
import torch
from jsonargparse import Namespace

from salt.cli.devices import chosen_devices, misfits


def causes(accelerator, devices):
    return [each.cause for each in misfits(Namespace(trainer=Namespace(accelerator=accelerator, devices=devices)))]


@pytest.fixture
def gpus(monkeypatch):
    """Make a machine have so many GPUs."""

    def have(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return have


@pytest.mark.parametrize(
    ("devices", "chosen"),
    [(2, 2), ([1], [1]), ("0,1", [0, 1]), ("1,", [1]), ("auto", -1), (-1, -1), ("-1", -1), ("x", None), ("0,x", None)],
)
def test_devices_are_read_as_lightning_does(devices, chosen):
    assert chosen_devices(devices) == chosen


@pytest.mark.parametrize("devices", [1, "2", [1], [0, 1], "0,1", "auto", -1, "-1"])
def test_gpus_that_are_there_can_be_asked_for_in_any_form(gpus, devices):
    gpus(2)
    assert causes("gpu", devices) == []


@pytest.mark.parametrize("devices", [3, 0, [2], "0,2", [], "x"])
def test_gpus_that_are_not_there_are_named(gpus, devices):
    gpus(2)
    (cause,) = causes("gpu", devices)
    assert f"{devices}" in cause


def test_without_a_gpu_there_is_none(gpus):
    gpus(0)
    (cause,) = causes("gpu", 1)
    assert "there is no GPU here" in cause


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
@pytest.mark.parametrize("devices", [[1], "0,1", -1, 0, "x"])
def test_the_cpu_takes_a_number_of_processes(gpus, accelerator, devices):
    gpus(0)
    (cause,) = causes(accelerator, devices)
    assert str(devices) in cause


@pytest.mark.parametrize("devices", [1, "2", "auto"])
def test_the_cpu_takes_any_number_of_processes(gpus, devices):
    gpus(0)
    assert causes("cpu", devices) == []


SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "8"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}


@pytest.mark.parametrize(("by", "variables"), [("srun", SRUN), ("torchrun", TORCHRUN)])
@pytest.mark.parametrize(("devices", "nodes", "fits"), [(2, 2, True), ("2", 2, True), (4, 1, False), (2, 1, False)])
def test_devices_have_to_be_the_processes_that_there_are(gpus, monkeypatch, by, variables, devices, nodes, fits):
    gpus(0)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = Namespace(trainer=Namespace(accelerator="cpu", devices=devices, num_nodes=nodes))
    found = list(misfits(config))
    assert (not found) == fits
    if not fits:
        (misfit,) = found
        assert f"trainer.devices is {devices} and trainer.num_nodes {nodes}, but {by} has started 4 " in misfit.cause
        assert "--trainer.devices=2 --trainer.num_nodes=2" in misfit.mend


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
@pytest.mark.parametrize("devices", ["2", "[1]", "0,1", "auto", "-1"])
def test_the_base_config_trains_on_the_cpu_whatever_gpus_a_config_asks_for(salt, overlay, devices):
    config = overlay(trainer={"devices": [1] if devices == "[1]" else devices})
    options = ("--trainer.fast_dev_run=1", "--data.batch_size=20")
    answer = salt("fit", "--config", "simple.yaml", "--config", config, *options)
    assert answer.code == 0, answer.err
    assert "no GPU here: trainer accelerator cpu" in answer.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
@pytest.mark.parametrize(("devices", "code"), [("[1]", 2), ("0,1", 2), ("auto", 0), ("-1", 0)])
def test_devices_of_the_command_line_are_answered_clearly_without_a_gpu(salt, devices, code):
    options = (f"--trainer.devices={devices}", "--trainer.fast_dev_run=1", "--data.batch_size=20")
    answer = salt("fit", "--config", "simple.yaml", *options)
    assert answer.code == code
    if code:
        assert "names GPUs, but training is on the CPU" in answer.error
        assert "--trainer.devices=1" in answer.error


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_a_gpu_of_the_command_line_is_answered_clearly_without_one(salt):
    answer = salt("fit", "--config", "simple.yaml", "--trainer.accelerator=gpu")
    assert answer.code == 2
    assert "there is no GPU here" in answer.error

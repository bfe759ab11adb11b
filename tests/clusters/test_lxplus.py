"""CERN's rules: each refuses what the batch service would refuse or remove later, and says how to mend it."""

from dataclasses import replace
from pathlib import Path

import pytest

from salt.clusters import condor
from salt.clusters.amounts import seconds
from salt.clusters.environments import Environment
from salt.clusters.job import Job, Resources
from salt.clusters.rules import ASKED, check, rules
from salt.clusters.site import defaults

AFS = Path("/afs/cern.ch/work/x/xyz")
EOS = Path("/eos/user/x/xyz")


@pytest.fixture
def job():
    """A job that CERN takes: logs on AFS, data and runs on EOS."""
    environment = Environment("venv", str(AFS / "venv"))
    arguments = ("--config", "gnn.yaml", f"--data.train_file={EOS}/train.h5")
    return Job("GNN", "fit", arguments, Resources(gpus=1, time="1-00:00:00"), environment, AFS / "jobs", EOS,
               signal_before=10, max_restarts=3)  # fmt: skip


def refusal(job):
    with pytest.raises(ValueError) as error:
        check(job, "lxplus")
    return str(error.value)


def test_a_job_that_keeps_all_rules_is_taken(job):
    check(job, "lxplus")
    files = condor.render(job)
    assert "request_GPUs = 1" in files["job.sub"]
    assert "+MaxRuntime = 86400" in files["job.sub"]


def test_the_preset_keeps_the_rules_and_sees_what_the_nodes_see(job, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    preset = defaults("lxplus")
    assert preset["bind"] == ["/eos", "/afs", "/cvmfs"]
    resources = Resources(time=preset["time"])
    check(replace(job, resources=resources, signal_before=preset["signal_before"]), "lxplus")
    assert preset["signal_before"] * 60 < seconds(preset["time"])


@pytest.mark.parametrize("folder", [EOS / "jobs", Path("/tmp/xyz/jobs"), Path("/afs/../eos/x")])
def test_logs_and_submit_files_lie_on_afs(job, folder):
    assert "mend: give --log-dir a folder on AFS" in refusal(replace(job, log_dir=folder))


def test_a_link_to_eos_is_eos(job, tmp_path, monkeypatch):
    (tmp_path / "afs").mkdir()
    (tmp_path / "afs" / "jobs").symlink_to(EOS)
    assert f"--log-dir {EOS}: " in refusal(replace(job, log_dir=tmp_path / "afs" / "jobs"))


@pytest.mark.parametrize(
    "change",
    [
        {"directory": Path("/tmp/xyz")},
        {"environment": Environment("venv", "/tmp/xyz")},
        {"environment": Environment("apptainer", "/tmp/xyz/salt.sif")},
        {"environment": Environment("none", prelude="/tmp/xyz.sh")},
        {"environment": Environment("conda", str(AFS / "env"), activate="/tmp/xyz/conda/bin/activate")},
    ],
)
def test_what_the_job_needs_lies_where_the_nodes_see_it(job, change):
    assert "path on the node /tmp/xyz" in refusal(replace(job, **change))


@pytest.mark.parametrize("image", ["/cvmfs/unpacked.cern.ch/salt", "docker://registry/salt:1"])
def test_images_from_cvmfs_and_from_registries_are_taken(job, image):
    check(replace(job, environment=Environment("apptainer", image, binds=("/eos",))), "lxplus")


@pytest.mark.parametrize("argument", ["root://eosuser.cern.ch//eos/x.h5", "--data.train_file=root://eos//eos/x.h5"])
def test_addresses_of_xrootd_are_refused_for_the_path_on_eos(job, argument):
    assert "mend: write the path instead, /eos/..." in refusal(replace(job, arguments=(argument,)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resources": Resources(time="7-00:00:01")}, "--time 604801: no job runs longer than a week"),
        ({"max_restarts": 11}, "--max-restarts 11: a job that began more than 10 times is removed"),
        ({"array": 8001}, "--array 8001: each process writes two files"),
    ],
)
def test_numbers_have_limits(job, change, words):
    assert words in refusal(replace(job, **change))


@pytest.mark.parametrize(
    "change", [{"resources": Resources(time="7-00:00:00")}, {"max_restarts": 10}, {"array": 8000}, {"array": None}]
)
def test_the_limits_themselves_are_allowed(job, change):
    check(replace(job, **change), "lxplus")


def test_all_broken_rules_are_said_at_once(job):
    said = refusal(replace(job, log_dir=EOS, array=9000, max_restarts=20))
    assert said.count("mend:") == 3


def test_each_rule_says_where_cern_says_so():
    assert {rule.option for rule in rules("lxplus")} == set(ASKED)
    assert all(rule.source.startswith("https://batchdocs.web.cern.ch/") for rule in rules("lxplus"))


@pytest.mark.parametrize("site", [None, "my-site.yaml"])
def test_other_sites_have_no_rules(job, site):
    check(replace(job, log_dir=EOS), site)


def test_the_command_refuses_before_anything_is_written(salt, tmp_path):
    answer = salt("submit", "condor", "--site", "lxplus", "--dry-run", "--config", "simple.yaml")
    assert answer.code == 2
    assert answer.out == ""
    assert f"--log-dir {tmp_path}/logs/jobs: " in answer.error
    assert "mend: give --log-dir a folder on AFS" in answer.error
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_both_files(salt, tmp_path):
    flavour = '--extra=+JobFlavour = "workday"'
    options = ("--gpus", "2", "--time", "2:00:00", flavour, "--dry-run", "--config", "simple.yaml")
    answer = salt("submit", "condor", *options)
    assert answer.code == 0, answer.err
    assert '+JobFlavour = "workday"\n' in answer.out
    assert "request_GPUs = 2\n" in answer.out
    assert "+MaxRuntime = 7200\n" in answer.out
    assert "salt fit --config simple.yaml --trainer.devices=2" in answer.out
    assert list(tmp_path.iterdir()) == []

"""Environments: found before the job is submitted, and written as lines of bash that make them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from salt.clusters.environments import Environment, chosen


def program(path, text="echo this is $0"):
    """An executable of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def said(environment, command=("salt",)):
    """What a command prints in an environment."""
    script = "\n".join([*environment.lines(), " ".join(environment.wrapped(command))])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_environment_of_this_process_is_the_default():
    environment = chosen({}, gpus=False)
    assert (environment.kind, environment.name) == ("venv", sys.prefix)


def test_salt_of_a_venv_is_the_one_that_runs(tmp_path):
    salt = program(tmp_path / "my env" / "bin" / "salt")
    environment = chosen({"env": "venv", "venv": str(tmp_path / "my env")}, gpus=False)
    assert said(environment) == f"this is {salt}\n"


def test_a_venv_without_salt_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"--venv {tmp_path} has no bin/salt"):
        chosen({"env": "venv", "venv": str(tmp_path)}, gpus=False)


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """What conda answers and leaves on a disk, written by hand: conda itself is no package that pip could install."""
    root = tmp_path / "conda"
    folders = [root, root / "envs" / "tagging", tmp_path / "elsewhere" / "gnn"]
    for folder in folders[1:]:
        program(folder / "bin" / "salt")
    program(root / "bin" / "conda", f"echo '{json.dumps({'envs': [str(each) for each in folders]})}'")
    (root / "bin" / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    monkeypatch.setenv("CONDA_EXE", str(root / "bin" / "conda"))
    return folders


@pytest.mark.parametrize("name", ["gnn", "path"])
def test_salt_of_a_conda_environment_is_found_by_name_and_by_path(conda, name):
    environment = chosen({"env": "conda", "conda": str(conda[2]) if name == "path" else name}, gpus=False)
    assert said(environment) == f"this is {conda[2]}/bin/salt\n"


def test_an_unknown_conda_environment_is_an_error_that_lists_the_others(conda):
    with pytest.raises(FileNotFoundError, match=r"no such environment; .* knows: tagging, "):
        chosen({"env": "conda", "conda": "tagger"}, gpus=False)


def test_a_conda_environment_without_salt_is_an_error(conda):
    (conda[1] / "bin" / "salt").unlink()
    with pytest.raises(FileNotFoundError, match="envs/tagging has no bin/salt"):
        chosen({"env": "conda", "conda": "tagging"}, gpus=False)


def test_without_conda_a_conda_environment_is_an_error(monkeypatch):
    monkeypatch.delenv("CONDA_EXE", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="no conda is found here"):
        chosen({"env": "conda", "conda": "x"}, gpus=False)


@pytest.fixture
def image(tmp_path):
    """A file in the place of an image: it is looked for, and not opened."""
    file = tmp_path / "salt.sif"
    file.touch()
    return file


@pytest.mark.parametrize(
    ("options", "gpus", "words"),
    [
        ({}, False, []),
        ({}, True, ["--nv"]),
        ({"bind": ["/tmp", "/usr:/data:ro"]}, False, ["--bind=/tmp", "--bind=/usr:/data:ro"]),
    ],
)
def test_a_command_is_wrapped_in_a_container_with_gpus_and_folders(image, options, gpus, words):
    environment = chosen({"env": "apptainer", "image": str(image), **options}, gpus)
    assert environment.wrapped(["salt", "fit"]) == ["apptainer", "exec", *words, str(image), "salt", "fit"]


def test_an_image_on_a_server_is_not_looked_for_here():
    assert chosen({"env": "apptainer", "image": "docker://x/salt:1"}, gpus=False).name == "docker://x/salt:1"


def test_an_image_that_is_not_there_is_an_error_that_names_those_beside_it(image):
    with pytest.raises(FileNotFoundError, match=r"--image .*slat.sif: there is no .* there are: salt.sif"):
        chosen({"env": "apptainer", "image": str(image.with_name("slat.sif"))}, gpus=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"env": "apptainer"}, "names no image"),
        ({"env": "conda"}, "names no environment"),
        ({"env": "apptainer", "image": "docker://x", "bind": ["/no/such:/data"]}, "there is no /no/such here"),
        ({"prelude": Path("no.sh")}, "--prelude no.sh: there is no such file"),
    ],
)
def test_what_an_environment_lacks_is_an_error(options, words):
    with pytest.raises((ValueError, OSError), match=words):
        chosen(options, gpus=False)


def test_modules_and_the_prelude_come_before_the_environment(tmp_path):
    prelude = tmp_path / "pre lude.sh"
    prelude.write_text('echo "prelude after $LOADED"\n')
    environment = chosen({"env": "none", "module": ["a/1", "b c"], "prelude": prelude}, gpus=False)
    script = ['module() { LOADED="$LOADED $2"; }', *environment.lines()]
    done = subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "prelude after  a/1 b c\n"


def test_a_module_that_cannot_be_loaded_ends_the_job():
    lines = [*Environment(modules=("cuda",)).lines(), "echo went on"]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("inside", "here"),
    [("/data/a.h5", "/eos/user/a.h5"), ("/tmp/a.h5", "/tmp/a.h5"), ("/database/a.h5", "/database/a.h5")],
)
def test_a_path_inside_the_container_is_looked_for_where_it_is_bound_from(inside, here):
    environment = Environment("apptainer", "i.sif", binds=("/eos/user:/data:ro", "/tmp"))
    assert environment.outside(Path(inside)) == Path(here)


def test_folders_for_a_container_mean_nothing_to_another_environment():
    assert chosen({"env": "none", "bind": ["/no/such"]}, gpus=False) == Environment("none")

"""The Containerfile: nothing here can build it, so that what can be read off it is looked at."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def instructions():
    """(INSTRUCTION, its text) in their order, without comments."""
    lines = [line for line in (ROOT / "Containerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in whole.splitlines() if line.strip()]


def texts(instructions, name):
    return [text for each, text in instructions if each == name]


def sent_along(path):
    """Whether .dockerignore leaves a path in: the last line that fits it, or a folder that it is in, counts."""
    kept, folders = True, [str(path), *map(str, Path(path).parents)][:-1]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and any(fnmatch.fnmatch(folder, pattern) for folder in folders):
            kept = line.startswith("!")
    return kept


def copied(instructions):
    return [source for text in texts(instructions, "COPY") for source in shlex.split(text)[:-1]]


def test_instructions_are_those_of_docker(instructions):
    known = {"FROM", "RUN", "ENV", "ARG", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions} <= known
    assert instructions[0][0] == "FROM"


def test_the_base_has_a_version_that_salt_supports(instructions):
    (base,) = texts(instructions, "FROM")
    minor = re.fullmatch(r"python:3\.(\d+)-slim-\w+", base)[1]
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]


def test_what_is_copied_is_there_and_is_sent_along(instructions):
    for source in copied(instructions):
        assert (ROOT / source).exists(), source
        assert sent_along(source), source


def test_what_building_the_package_needs_is_copied(instructions):
    with (ROOT / "pyproject.toml").open("rb") as file:
        content = tomllib.load(file)
    needed = {"pyproject.toml", content["project"]["readme"], *content["project"]["license-files"],
              *content["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}  # fmt: skip
    assert needed <= set(copied(instructions))


@pytest.mark.parametrize("path", [".git", ".venv", "demo", "logs", "tests", "salt/__pycache__", "salt/nn/x.pyc"])
def test_what_is_no_part_of_it_is_not_sent_along(path):
    assert not sent_along(path)


def test_extras_are_those_of_the_package(instructions):
    (extras,) = [text.partition("=")[2] for text in texts(instructions, "ARG") if text.startswith("EXTRAS")]
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert set(extras.split(",")) <= set(tomllib.load(file)["project"]["optional-dependencies"])


def test_versions_are_those_that_work_together(instructions):
    (install,) = [text for text in texts(instructions, "RUN") if "pip install" in text]
    assert "--constraint /opt/salt/constraints.txt" in install
    assert "constraints.txt" in copied(instructions)


def test_it_runs_salt_as_nobody_in_particular(instructions):
    names = [name for name, _ in instructions]
    (user,) = texts(instructions, "USER")
    assert user not in {"root", "0"}
    assert any(f"useradd --create-home {user}" in text for text in texts(instructions, "RUN"))
    assert "RUN" not in names[names.index("USER") :]
    assert json.loads(texts(instructions, "ENTRYPOINT")[0]) == ["salt"]


def test_no_path_of_a_machine_is_in_it():
    text = (ROOT / "Containerfile").read_text()
    assert set(re.findall(r"/home/\w+|/root\b|/work\b|/users?\b", text)) == {"/home/salt"}


def test_the_packaged_sites_and_scripts_go_into_the_image():
    assert all(sent_along(file.relative_to(ROOT)) for file in (ROOT / "salt" / "clusters").rglob("*.yaml"))

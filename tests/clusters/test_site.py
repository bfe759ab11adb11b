"""A site's defaults: files of the options' names, counted below the command line."""

import pytest

from salt.clusters.site import PACKAGED, defaults, over, read, site_file


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write the user's own site.yaml."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text):
        file = tmp_path / "config" / "salt" / "site.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def other(tmp_path):
    """Write a file for --site."""

    def write(text):
        file = tmp_path / "other.yaml"
        file.write_text(text)
        return file

    return write


def test_without_a_file_there_are_no_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert defaults(None) == {}


def test_the_users_own_file_is_found_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "salt").mkdir(parents=True)
    (tmp_path / ".config" / "salt" / "site.yaml").write_text("partition: mine\n")
    assert defaults(None) == {"partition": "mine"}


def test_the_named_site_goes_over_the_users_own(own, other):
    own("partition: mine\naccount: me\nmodule: [a]\n")
    assert defaults(str(other("partition: theirs\nmodule: [b]\n"))) == {
        "partition": "theirs",
        "account": "me",
        "module": ["a", "b"],
    }


def test_values_are_read_as_options_are(other):
    text = (
        "time: 12:00:00\nmax_restarts: 2\ngpus: a100:4\nlog-dir: x\nextra: ['--exclusive', '--mail-type=END']\nstage:\n"
    )
    given = read(other(text))
    assert given["time"] == "12:00:00"  # 43200, to YAML
    assert (given["max_restarts"], given["gpus"], given["stage"]) == (2, (4, "a100"), "")
    assert given["extra"] == ["--exclusive", "--mail-type=END"]


def test_an_empty_file_says_nothing(other):
    assert read(other("# nothing yet\n")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin: gpu", "unknown option 'partitoin' in {file}; nearest: partition"),
        ("dry-run: true", "unknown option 'dry-run'"),
        ("time: 4h", "{file}: --time: '4h' is no time"),
        ("partition: [a", "{file}, line 2 is not YAML"),
        ("- partition", "{file} holds no mapping"),
        ("gpus: {a100: 2}", "{file}: gpus holds a mapping"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(other, text, message):
    file = other(f"{text}\n")
    with pytest.raises(ValueError) as caught:
        read(file)
    assert message.format(file=file) in str(caught.value)


def test_an_unknown_site_is_an_error_that_lists_those_that_ship():
    with pytest.raises(FileNotFoundError, match="--site nowhere is no file, and no site that salt ships"):
        site_file("nowhere")


@pytest.mark.parametrize("file", sorted(PACKAGED.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_site_that_ships_can_be_read(file):
    assert site_file(file.stem) == file
    read(file)


def test_another_environment_takes_the_place_of_the_sites():
    site = {"env": "apptainer", "image": "i.sif", "module": ["a"]}
    assert over(site, {"env": "venv", "venv": "v"}) == {"env": "venv", "venv": "v", "module": ["a"]}
    assert over(site, {"env": "apptainer"}) == {"env": "apptainer", "image": "i.sif", "module": ["a"]}

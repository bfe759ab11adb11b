import pytest

from salt.callbacks.secrets import (
    HIDDEN,
    hidden,
    hidden_arguments,
    is_secret,
    secrets_in,
    secrets_of_environment,
    without_secrets,
)

KEY = "f00dcafe12345678"


@pytest.mark.parametrize(
    "name",
    ["api_key", "COMET_API_KEY", "PL_TRAINER__LOGGER__API_KEY", "a.b.token", "aws_secret_access_key", "password"],
)
def test_names_of_keys_are_known(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["num_tokens", "tokenizer", "monkey", "data.variables", "workspace", "api_keys_file"])
def test_other_names_are_not_taken_for_keys(name):
    assert not is_secret(name)


def test_a_config_is_written_without_keys():
    config = {"logger": [{"init_args": {"api_key": KEY, "project": "x"}}], "file": f"https://me:{KEY}@host/x.h5"}
    assert without_secrets(config) == {
        "logger": [{"init_args": {"api_key": None, "project": "x"}}],
        "file": f"https://{HIDDEN}@host/x.h5",
    }
    assert config["logger"][0]["init_args"]["api_key"] == KEY


def test_a_number_of_tokens_that_is_called_token_stays():
    assert without_secrets({"token": 3}) == {"token": 3}


def test_keys_of_the_config_and_of_the_environment_are_found(monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    assert KEY in secrets_of_environment()
    assert secrets_in({"a": [{"b": {"api_key": KEY}}]}) == {KEY}


def test_a_command_line_is_written_without_keys():
    arguments = ["fit", f"--l.api_key={KEY}", "--l.token", KEY, "--name", "x", f"--note=with {KEY} inside"]
    assert hidden_arguments(arguments, {KEY}) == [
        "fit", f"--l.api_key={HIDDEN}", "--l.token", HIDDEN, "--name", "x", f"--note=with {HIDDEN} inside"
    ]  # fmt: skip


def test_what_is_too_short_to_be_a_key_is_not_taken_out_of_texts():
    assert hidden("a text", {"e"}) == "a text"

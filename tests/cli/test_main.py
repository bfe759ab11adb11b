import subprocess
import sys
from pathlib import Path

import pytest

from salt import __version__
from salt.cli.main import VERBS

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = Path(sys.executable).parent
WAYS_IN = {
    "salt": [SCRIPTS / "salt"],
    "main": [SCRIPTS / "main"],
    "module": [sys.executable, "-m", "salt"],
    "script": [sys.executable, ROOT / "salt" / "main.py"],
}


def process(command, *arguments, cwd=None):
    return subprocess.run([*map(str, command), *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_leads_to_the_same_program(way, tmp_path):
    done = process(WAYS_IN[way], "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"salt {__version__}\n")


def test_help_names_all_verbs(salt):
    answer = salt("--help")
    assert answer.code == 0
    assert all(f"  {verb} " in answer.out for verb in VERBS)


def test_no_verb_shows_the_help_and_fails(salt):
    answer = salt()
    assert answer.code == 2
    assert "usage: salt VERB" in answer.out


def test_help_does_not_wait_for_torch():
    code = "import sys; from salt.cli.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert process([sys.executable, "-c", code]).returncode == 0


def test_help_of_fit_lists_all_that_can_be_given_and_the_script_is_not_fooled_by_types(tmp_path):
    """As a script salt/main.py lies beside salt/types.py, which must not hide the standard library's."""
    done = process(WAYS_IN["script"], "fit", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for option in (
        "--data.train_file",
        "--data.batch_size",
        "--model.lrs_config",
        "--model.model",
        "--trainer.max_epochs",
    ):
        assert option in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_message_on_stderr_and_exit_code_2(tmp_path):
    done = process(WAYS_IN["salt"], "fit", "--config", "nope.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("salt: error: no file nope.yaml (--config)")
    assert "Traceback" not in done.stderr


def test_a_plain_fit_says_nothing_of_warnings(tmp_path):
    arguments = ["fit", "--config", "configs/simple.yaml", "--trainer.fast_dev_run", "5"]
    done = process(WAYS_IN["main"], *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert list(tmp_path.iterdir()) == []

import subprocess
import sys

import pytest

from salt.simulate import generator
from salt.simulate.command import PROCESSES, main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jets", "0", "1", "1"], "1 or more"),
        (["--jets", "5", "-1", "1"], "1 or more"),
        (["--jets", "5", "1", "1", "--workers", "0"], "--workers 0"),
        (["--jets", "5", "1", "1", "--seed", "-3"], "--seed -3"),
    ],
)
def test_numbers_that_cannot_work_are_refused_in_one_line(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--jets", "5", "1", "1", "--out", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_unknown_process_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--jets", "5", "1", "1", "--process", "higgs"])
    assert stop.value.code == 2
    assert "zprime" in capsys.readouterr().err


def test_missing_generator_is_answered_with_how_to_install_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--jets", "5", "1", "1", "--out", str(tmp_path)]) == 2
    assert "pip install 'salt-hep[simulate]'" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from salt.simulate.command import make_parser; make_parser().format_help(); "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'h5py', 'awkward', 'pythia8mc', 'fastjet', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_command_offers_the_processes_that_exist():
    assert tuple(generator.PROCESSES) == PROCESSES

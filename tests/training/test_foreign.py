import builtins
import os
import pickle
import shutil
from collections import OrderedDict
from zipfile import ZipFile

import pytest
import torch

from salt.training import foreign


class Hostile:
    """Runs a program when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ckpt"


def test_tensors_and_containers_come_out_as_they_are(path):
    content = {
        "state_dict": OrderedDict(a=torch.arange(6).reshape(2, 3), b=torch.nn.Parameter(torch.ones(2))),
        "epoch": 3,
        "list": [1.5, None, True, ("x", {1, 2})],
        "dtype": torch.float16,
    }
    torch.save(content, path)
    read = foreign.read(path)
    assert torch.equal(read["state_dict"]["a"], content["state_dict"]["a"])
    assert torch.equal(read["state_dict"]["b"], content["state_dict"]["b"])
    assert {key: read[key] for key in ("epoch", "list")} == {key: content[key] for key in ("epoch", "list")}


def test_objects_of_other_classes_are_stubs_that_keep_their_tensors(path):
    torch.save({"model": torch.nn.Linear(2, 3)}, path)
    stub = foreign.read(path)["model"]
    assert isinstance(stub, foreign.Stub)
    assert type(stub).__qualname__ == "Linear"
    assert stub.state["_parameters"]["weight"].shape == (3, 2)


def outline(path):
    with path.open("rb") as file:
        return foreign.outline(file)


@pytest.mark.parametrize("read", [foreign.read, outline])
@pytest.mark.parametrize("function", ["os.system", "eval", "exec", "open", "rmtree", "getattr", "import"])
def test_a_hostile_pickle_runs_nothing(path, tmp_path, read, function):
    victim = tmp_path / "victim"
    victim.mkdir()
    made = tmp_path / "made"
    calls = {
        "os.system": (os.system, f"touch {made}"),
        "eval": (eval, f"open({str(made)!r}, 'w')"),
        "exec": (exec, f"open({str(made)!r}, 'w')"),
        "open": (open, str(made), "w"),
        "rmtree": (shutil.rmtree, str(victim)),
        "getattr": (getattr, "text", "upper"),
        "import": (builtins.__import__, "antigravity"),
    }
    torch.save({"state_dict": {"a": torch.ones(2)}, "global_step": 3, "evil": Hostile(*calls[function])}, path)
    content = read(path)
    assert content["global_step"] == 3
    assert isinstance(content["evil"], foreign.Stub)
    assert not made.exists()
    assert victim.is_dir()


def test_a_pickle_cannot_change_the_functions_that_rebuild_tensors(path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    # protocol 0: the function, the state (None, {"__defaults__": (1,)}), BUILD
    meddling = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'__defaults__'\n(I1\ntstb."
    with ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", meddling)
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
    foreign.read(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_a_file_of_another_format_is_refused(path):
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a checkpoint of torch's zip format"):
        foreign.read(path)

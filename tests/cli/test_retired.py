from copy import deepcopy

import pytest

from salt.cli.retired import rewritten

WRITER = "salt.callbacks.PredictionWriter"


def config(class_names=None, **arguments):
    task = {"name": "flavours", "input_name": "jets", **({"class_names": class_names} if class_names else {})}
    modules = [{"class_path": "salt.models.ClassificationTask", "init_args": task}]
    return {
        "trainer": {"callbacks": [{"class_path": "salt.callbacks.Checkpoint"}, writer(**arguments)]},
        "model": {"model": {"init_args": {"tasks": {"init_args": {"modules": modules}}}}},
    }


def writer(**arguments):
    return {"class_path": WRITER, "init_args": arguments}


def of(content):
    (module,) = content["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    return content["trainer"]["callbacks"], module["init_args"].get("class_names")


def test_fields_of_jets_and_tracks_become_extra_vars(caplog):
    caplog.set_level("INFO", "salt")
    old = config(jet_variables=["pt"], track_variables=["d0", "valid"], half_precision=True)
    before = deepcopy(old)
    (_, new), names = of(rewritten(old, "a.yaml"))
    assert new == writer(extra_vars={"jets": ["pt"], "tracks": ["d0", "valid"]}, half_precision=True)
    assert names is None
    assert old == before
    assert caplog.messages == ["read jet_variables and track_variables of PredictionWriter (a.yaml) as extra_vars"]


def test_fields_of_jets_are_those_of_the_global_object():
    old = {**config(jet_variables=["pt"]), "data": {"global_object": "muons"}}
    (_, new), _ = of(rewritten(old, "a.yaml"))
    assert new == writer(extra_vars={"muons": ["pt"]})


def test_classes_of_jets_name_those_of_the_task(caplog):
    caplog.set_level("INFO", "salt")
    (_, new), names = of(rewritten(config(jet_classes=["hbb", "qcd"]), "a.yaml"))
    assert (new, names) == (writer(), ["hbb", "qcd"])
    assert caplog.messages == ["read jet_classes of PredictionWriter (a.yaml) as class_names of flavours"]


def test_classes_of_jets_that_name_no_task_are_told(caplog):
    _, names = of(rewritten(config(jet_classes=["hbb", "qcd"], class_names=["a", "b"]), "a.yaml"))
    assert names == ["a", "b"]
    assert "says nothing here: no task of jets lacks names" in caplog.text


@pytest.mark.parametrize("content", [{}, {"trainer": None}, {"trainer": {"callbacks": None}}, config(extra_vars={})])
def test_other_configs_stay_as_they_are(content):
    assert rewritten(content, "a.yaml") is content

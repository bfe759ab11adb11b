import pytest

from salt.sweeps.folder import Member, best, is_sweep, members, parsed, read_plan, write_members, write_plan

KEYS = ("model.lrs_config.max", "data.batch_size", "model.model.init_args.norm")


@pytest.fixture
def folder(tmp_path):
    write_plan(tmp_path, {"method": "tpe", "direction": "min", "parameters": {key: [1] for key in KEYS}})
    return tmp_path


def member(folder, number=0, value=0.5, state="complete", **changes):
    parameters = dict(zip(KEYS, (1e-05, 500, "LayerNorm"), strict=True))
    facts = {"run": folder / "trials" / f"GNN_{number:04d}", "parameters": parameters, "duration": 12.5, "reason": ""}
    return Member(number=number, state=state, value=value, **{**facts, **changes})


def test_members_are_read_as_they_were_written(folder):
    found = [member(folder), member(folder, 1, None, "failed", reason="ValueError: no, never\nmore", duration=None)]
    write_members(folder, found)
    assert members(folder) == found


def test_members_come_by_number(folder):
    write_members(folder, [member(folder, 2), member(folder, 0), member(folder, 1)])
    assert [each.number for each in members(folder)] == [0, 1, 2]


@pytest.mark.parametrize("value", [1e-05, 7, True, "true", "0003", [1, 2], {"class_path": "a.B"}, "a: b", 0.1])
def test_values_of_parameters_keep_their_type(folder, value):
    parameters = dict(zip(KEYS, (value, 500, "x"), strict=True))
    write_members(folder, [member(folder, parameters=parameters)])
    assert members(folder)[0].parameters == parameters


def test_the_table_begins_with_the_columns_that_scripts_read(folder):
    write_members(folder, [member(folder)])
    head, line = (folder / "trials.csv").read_text().splitlines()
    assert head == f"number,state,value,run,duration,{','.join(KEYS)},reason"
    assert line == "0,complete,0.5,trials/GNN_0000,12.5,1e-05,500,LayerNorm,"


def test_a_sweep_that_has_not_begun_has_no_members(folder):
    assert is_sweep(folder)
    assert members(folder) == []


def test_a_folder_without_a_plan_is_no_sweep(tmp_path):
    assert not is_sweep(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no sweep in .*sweep\.yaml"):
        members(tmp_path)


def test_a_plan_of_a_later_format_is_refused(folder):
    (folder / "sweep.yaml").write_text("format: 2\n")
    with pytest.raises(ValueError, match=r"format 2, and this version of salt reads up to 1"):
        read_plan(folder)


def test_a_damaged_table_is_named(folder):
    write_members(folder, [member(folder)])
    table = folder / "trials.csv"
    table.write_text(table.read_text() + "1,comp")
    with pytest.raises(ValueError, match=r"trials\.csv has a line without value"):
        members(folder)


def test_the_best_is_complete_and_the_direction_counts(folder):
    found = [member(folder, 0, 0.3), member(folder, 1, 0.1, "pruned"), member(folder, 2, 0.7)]
    assert best(found, "min").number == 0
    assert best(found, "max").number == 2
    assert best(found[1:2], "min") is None


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1e5", 1e5), ("3", 3), ("1.", 1.0), ("1e", "1e")])
def test_numbers_are_those_of_salt_fit(text, value):
    assert parsed(text) == value
    assert type(parsed(text)) is type(value)

from salt.cli.nested import changed, value_at, with_value, without

CONTENT = {"a": {"b": None, "c": [{"d": 1}]}, "e": 2}


def test_a_value_may_be_null_and_what_is_not_there_is_the_default():
    assert value_at(CONTENT, ["a", "b"], "none") is None
    assert value_at(CONTENT, ["a", "x"], "none") == value_at(CONTENT, ["e", "x"], "none") == "none"


def test_a_value_is_put_where_mappings_are_missing_too():
    assert with_value(CONTENT, ["a", "b"], 3) == {"a": {"b": 3, "c": [{"d": 1}]}, "e": 2}
    assert with_value({"a": None}, ["a", "b"], 3) == {"a": {"b": 3}}


def test_a_value_is_left_out_and_nothing_else():
    assert without(CONTENT, ["a", "b"]) == {"a": {"c": [{"d": 1}]}, "e": 2}
    assert without(CONTENT, ["a", "x"]) == without(CONTENT, ["e", "x"]) == CONTENT


def test_every_mapping_is_changed_after_those_in_it():
    def counted(node):
        return {**node, "num_inside": sum(each["num_inside"] + 1 for each in node.get("c", []))}

    assert changed({"c": [{"c": [{}]}]}, counted)["num_inside"] == 2


def test_what_is_given_stays_as_it_is():
    before = str(CONTENT)
    with_value(CONTENT, ["a", "b"], 3)
    without(CONTENT, ["a", "b"])
    changed(CONTENT, lambda node: {"changed": node})
    assert str(CONTENT) == before

from salt.data.names import by_nearness, unknown


def test_the_nearest_name_comes_first():
    assert by_nearness("flavor_label", ["pt", "flavour_label", "eta"])[0] == "flavour_label"


def test_case_does_not_matter():
    assert by_nearness("PT", ["d0", "pt"])[0] == "pt"


def test_a_message_has_all_names():
    names = [f"v{i}" for i in range(9)]
    message = unknown("variable", "v12", names, "here")
    assert all(name in message for name in names)
    assert "there are 9" in message


def test_a_message_without_names_says_so():
    assert unknown("metric", "loss", [], "what is logged") == "unknown metric 'loss' in what is logged; there are none"

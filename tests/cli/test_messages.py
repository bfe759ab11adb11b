from salt.cli.configs import Source
from salt.cli.messages import in_short

DEEP = """Parser key "model.model":
  Problem with given class_path 'salt.models.SaltModel':
    Parser key "pool_net":
      Does not validate against any of the Union subtypes
      Subtypes: [<class 'salt.nn.pooling.GlobalAttentionPooling'>, <class 'NoneType'>]
      Errors:
        - Problem with given class_path 'salt.models.GlobalAttentionPooling':
            Parser key "input_size":
              Expected a <class 'int'>. Got value: abc
        - Expected a <class 'NoneType'>
      Given value type: <class 'dict'>
      Given value: {'class_path': 'salt.models.GlobalAttentionPooling', 'init_args': {'input_size': 'abc'}}"""


def test_the_reason_is_told_with_the_whole_key():
    assert in_short(DEEP, []).startswith(
        "model.model.init_args.pool_net.init_args.input_size: expected a whole number, got 'abc'\n"
    )


def test_the_file_that_says_so_is_named():
    sources = [Source("base.yaml", {}), Source("mine.yaml", {"data": {"batch_size": "abc"}})]
    message = "Parser key \"data.batch_size\":\n  Expected a <class 'int'>. Got value: abc"
    assert in_short(message, sources).startswith("data.batch_size (mine.yaml): expected a whole number")


def test_our_own_messages_stay_as_they_are():
    for message in ("no file x.h5 (data.train_file)", "two\n  lines of ours"):
        assert in_short(message, []) == message


def test_a_new_message_of_the_parser_is_passed_on():
    assert in_short('Parser key "a.b":\n  something new', []) == "a.b: something new"

"""Environment variables that configure a run: PL_TRAINER__MAX_EPOCHS=3, or PL_FIT__... for one verb only.

They go over base.yaml and under each --config, key by key: a variable counts where no --config and no option says
anything of its key.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.cli import class_paths, configs, upstream
from salt.cli.configs import Source, merged, source_of
from salt.cli.keys import unknown_keys
from salt.cli.nested import value_at, with_value
from salt.cli.secrets import VARIABLES
from salt.data.names import by_nearness

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

PREFIX = "PL_"
BETWEEN = "__"
"""What stands for the dot of a key."""

VERBS = ("FIT", "TEST", "VALIDATE", "PREDICT")

NOT_OURS = frozenset({"PL_GLOBAL_SEED", "PL_SEED_WORKERS", "PL_DEEPSPEED_CONFIG_PATH", "PL_RUN_STANDALONE_TESTS",
                      "PL_USE_MOCKED_MNIST", "PL_TRAINER_DEVICES", "PL_FAULT_TOLERANT_TRAINING",
                      "PL_TORCH_DISTRIBUTED_BACKEND", "PL_INTER_BATCH_PARALLELISM"})  # fmt: skip
"""Variables that Lightning itself sets or reads, or did."""

IN_A_CLASS = frozenset({"class_path", "init_args", "dict_kwargs"})


class Variable(NamedTuple):
    """A variable, the parts of its name behind PL_ and the verb, in capitals, its value, and if it names the verb."""

    name: str
    parts: tuple[str, ...]
    value: str
    is_for_verb: bool


NOBODY = Variable("", (), "", False)


def config_files(environ: Mapping[str, str], verb: str) -> list[str]:
    """The config that PL_CONFIG names, or PL_FIT__CONFIG for one verb."""
    return [each.value for each in _variables(environ, verb) if each.parts == ("CONFIG",)]


def sources(
    environ: Mapping[str, str], verb: str, parser: ArgumentParser, below: Sequence[Source], above: Sequence[Source]
) -> list[Source]:
    """What the variables say, each a source of its own name; says which counted, and which did not.

    Parameters
    ----------
    environ : Mapping[str, str]
        The environment.
    verb : str
        fit or test.
    parser : ArgumentParser
        What knows the keys.
    below, above : Sequence[Source]
        What the variables go over, and what goes over them.
    """
    keys = _keys(parser)
    found: list[Source] = []
    strangers: list[str] = []
    losers: list[tuple[str, str]] = []
    for variable in _variables(environ, verb):
        if variable.parts == ("CONFIG",):
            continue
        now = merged([*below, *found, *above])
        key = _key(variable.parts, keys, now)
        source = _source(variable, key)
        if not key or _num_unknown([Source("", now), source], parser) > _num_unknown([Source("", now)], parser):
            nearest = by_nearness(".".join(variable.parts), keys)[0]
            strangers.append(f"{variable.name} (nearest: {PREFIX}{nearest.upper().replace('.', BETWEEN)})")
        elif winner := next((name for each in _leaves(source.content) if (name := source_of(each, above))), ""):
            losers.append((variable.name, winner))
        elif not _has_room(key.split("."), now):
            losers.append((variable.name, source_of(key.rpartition(".")[0], above) or "another setting"))
        else:
            found.append(source)
            info("%s = %s from %s", key, variable.value, variable.name)
    if strangers:
        warn("environment variables that mean nothing to salt %s: %s", verb, ", ".join(strangers))
    for name, winner in losers:
        info("%s is set, but %s says otherwise and counts more", name, winner)
    return found


def _num_unknown(sources: Sequence[Source], parser: ArgumentParser) -> int:
    return sum(1 for _ in unknown_keys(sources, parser))


def _variables(environ: Mapping[str, str], verb: str) -> Iterator[Variable]:
    """The variables for this verb, in order of their names; PL_FIT__X in place of PL_X."""
    found: dict[tuple[str, ...], Variable] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NOT_OURS | VARIABLES:
            continue
        parts = tuple(name.removeprefix(PREFIX).split(BETWEEN))
        is_for_verb = parts[0] in VERBS and len(parts) > 1
        if is_for_verb and parts[0] != verb.upper():
            continue
        parts = parts[1:] if is_for_verb else parts
        if is_for_verb or not found.get(parts, NOBODY).is_for_verb:
            found[parts] = Variable(name, parts, environ[name], is_for_verb)
    yield from (found[parts] for parts in sorted(found))


def _keys(parser: ArgumentParser) -> list[str]:
    """Keys that the parser knows, and old ones."""
    hidden = {"help", "config", "print_config", "print_shtab"}
    known = [action.dest for action in parser._actions if action.dest.partition(".")[0] not in hidden]
    return [key for key in known if not key.endswith(".help")] + list(upstream.RULES)


def _key(parts: Sequence[str], keys: Sequence[str], content: Any) -> str:
    """The key that the parts mean, empty: none; inside an argument the spelling of what is there already counts."""
    spelled = {tuple(key.upper().split(".")): key.split(".") for key in keys}
    for number in range(len(parts), 0, -1):
        if known := spelled.get(tuple(parts[:number])):
            break
    else:
        return ""
    key, node = list(known), value_at(content, known)
    for part in parts[number:]:
        if isinstance(node, Mapping) and "class_path" in node and part.lower() not in IN_A_CLASS:
            key.append("init_args")  # as on the command line, where the word may be left out
            node = node.get("init_args")
        names = {str(name).upper(): str(name) for name in node} if isinstance(node, Mapping) else {}
        key.append(names.get(part, part.lower()))
        node = value_at(node, key[-1:])
    return ".".join(key)


def _source(variable: Variable, key: str) -> Source:
    content = with_value({}, key.split("."), configs.load(variable.value))
    return Source(variable.name, class_paths.rewritten(upstream.rewritten(content, variable.name)))


def _leaves(node: Any, key: str = "") -> Iterator[str]:
    """Dotted keys of everything that a mapping says."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key


def _has_room(parts: Sequence[str], content: Any) -> bool:
    """Whether a key can stand where it is to stand: not inside false, a number or a list."""
    above = [value_at(content, parts[:number]) for number in range(1, len(parts))]
    return all(node is None or isinstance(node, Mapping | str) for node in above)

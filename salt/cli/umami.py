"""Files of umami's layout: they name their variables, and hold them normalised already."""

from __future__ import annotations

import logging

from jsonargparse import Namespace

from salt.cli.asked import READ_BY
from salt.cli.files import is_packaged
from salt.cli.parsed import schema
from salt.data.remote import is_url
from salt.data.sources import find_sources, open_sample
from salt.data.tables import Table
from salt.data.umami import UmamiTable

log = logging.getLogger(__name__)


def _tables(config: Namespace, key: str) -> dict[str, Table]:
    """Stream -> its table in a file; of several files, in the first. none where it cannot be read: a check says so."""
    data = config.data
    of = schema(config)
    streams = dict.fromkeys([data.global_object, *data.variables, *of.input_map])
    if config[key] is None:
        return {}
    try:
        with open_sample(find_sources(config[key], key)[0], key) as sample:
            datasets = {stream: of.dataset(stream) for stream in streams}
            return {stream: sample.table(name, key) for stream, name in datasets.items() if name in sample.names()}
    except (OSError, ValueError, ImportError):
        return {}


def umami_tables(config: Namespace, key: str) -> dict[str, UmamiTable]:
    """Stream -> its group, of a file of umami's layout; none for other files, and such as cannot be read.

    Parameters
    ----------
    config : Namespace
        Says which streams there are.
    key : str
        The key that names the file, or files.
    """
    tables = _tables(config, key)
    found = {stream: table for stream, table in tables.items() if isinstance(table, UmamiTable)}
    others = [table.where for stream, table in tables.items() if stream not in found]
    if found and others:
        raise ValueError(
            f"{next(iter(found.values())).where} is of umami's layout, and normalised, but {others[0]} is not: they "
            "cannot serve one model\n  mend: write all of them in one layout"
        )
    return found


def is_normalised(config: Namespace) -> bool:
    """Whether the training file holds inputs that are normalised already."""
    return bool(umami_tables(config, "data.train_file"))


def fill_variables(config: Namespace, key: str) -> None:
    """The variables that a file names, where the config names datasets (data.inputs, data.input_map) but no variables.

    Columns of constituents that repeat those of their jet are left out where the model gives them the jet's anyway.
    """
    data = config.data
    if data.variables or not data.input_map or not _tables(config, key):
        return
    tables = umami_tables(config, key)
    jets = tables[data.global_object].variables if data.global_object in tables else []
    variables: dict[str, list[str]] = {stream: [] for stream in (data.global_object, *data.input_map)}
    for stream, table in tables.items():
        repeated = {f"jet_{name}" for name in jets} if _gets_jets_variables(config, stream) else set()
        variables[stream] = [name for name in table.variables if name not in repeated]
        log.info("filled data.variables.%s = %s from %s", stream, ", ".join(variables[stream]), table.path)
        left_out = ", ".join(name for name in table.variables if name in repeated)
        if left_out:
            log.info("left out of data.variables.%s: %s, the jet's own, which the model adds", stream, left_out)
    if not tables:
        raise ValueError(
            f"data.variables is not given, and {config[key]} ({key}) is not of umami's layout, which names its own\n"
            f"  mend: name them: data.variables: {{{', '.join(f'{stream}: [...]' for stream in variables)}}}"
        )
    data.variables = variables
    if config.model.model is not None:  # the link from data to model read the config as it was parsed
        arguments = config.model.model.init_args
        arguments.schema = {**arguments.schema, "variables": variables}


def _gets_jets_variables(config: Namespace, stream: str) -> bool:
    """Whether the model's net for a stream has the global object's variables as inputs too, as is the default."""
    model = config.model.model
    nets = model.get("init_args.init_nets") or [] if model is not None else []
    return all(net.get("attach_global", True) for net in nets if net.get("input_name") == stream)


def leave_normalised(config: Namespace, verb: str) -> None:
    """No normalisation in a model that reads inputs which are normalised already."""
    key = READ_BY[verb]
    _check_alike(config, key, "data.val_file" if verb == "fit" else "data.train_file")
    tables = umami_tables(config, key)
    if not tables:
        if config.get("model.norm.already") and _tables(config, key):
            raise ValueError(
                f"this model is for inputs that are normalised already (model.norm.already), but {config[key]} ({key}) "
                f"is not of umami's layout: its inputs are not\n  mend: name a file of umami's layout for {key}"
            )
        return
    config.model.norm_dict = None
    config.model.norm = {**(config.model.get("norm") or {}), "already": True}
    if is_packaged(config.data.norm_dict):
        config.data.norm_dict = None  # that of the sample
    file = next(iter(tables.values())).path
    log.info("%s (%s) is of umami's layout, and normalised already: the model does not do it again", file, key)


def _check_alike(config: Namespace, key: str, other: str) -> None:
    """Raise where one of two files is normalised and the other is not: the model could be right for one only."""
    if is_packaged(config[other]) or is_url(str(config[other])):
        return
    layouts = {True: "of umami's layout, and normalised", False: "of another layout, and not normalised"}
    files = {name: bool(umami_tables(config, name)) for name in (key, other) if _tables(config, name)}
    if len(set(files.values())) > 1:
        said = ", but ".join(f"{config[name]} ({name}) is {layouts[is_umami]}" for name, is_umami in files.items())
        raise ValueError(f"{said}: no model is right for both\n  mend: name files of one layout for {key} and {other}")

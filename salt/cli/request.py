"""A request: the job that a command line of `salt submit` asks for, if all that it needs is there."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from salt.cli import configs
from salt.cli.allotment import Allotment, allotted, without
from salt.cli.configs import COMMAND_LINE, Source, merged
from salt.cli.files import packaged_config
from salt.cli.reachable import missing
from salt.cli.runs import FILE_OF, run_config, with_run
from salt.clusters import amounts
from salt.clusters.environments import chosen
from salt.clusters.job import ON_DEVICES, STAGE, TASK, Job, Resources
from salt.clusters.site import over
from salt.sweeps.folder import PLAN, is_sweep, read_plan
from salt.training.run_files import is_url

info = logging.getLogger(__name__).info
warn = logging.getLogger(__name__).warning

LOG_DIR = Path("logs/jobs")
MAX_RESTARTS = 3

CPUS_WITH_GPU = 2
"""One core for the training's own thread, one for the thread that gathers the batches."""

SHARED = frozenset({"sweep"})
"""Verbs of which several tasks with the same arguments work on one thing."""

SIZES = ("gpus", "tasks", "nodes")

AS_GIVEN = ("cpus", "memory", "time", "partition", "account", "qos", "constraint", "gpu_request")
"""Options that are fields of the resources as they are."""


class Said(NamedTuple):
    """What is said of a training: by the config of a run that it is about, and by the user's files and options.

    A sweep that goes on says it too: it has the options that it began with.
    """

    run: list[Source]
    user: list[Source]
    sweep: list[Source]


def requested(verb: str, arguments: Sequence[str], asked: Mapping[str, Any], site: Mapping[str, Any]) -> Job:
    """The job.

    Parameters
    ----------
    verb : str
        Verb of salt that is run.
    arguments : Sequence[str]
        The verb's own; without keys of services.
    asked, site : Mapping[str, Any]
        Options of `salt submit`: of the command line, and of the files of a site, which count less.
    """
    options = over(site, asked)
    if "bind" not in asked and options.get("env") != "apptainer":
        options.pop("bind", None)  # a site's, for whoever has a container
    said = _said(verb, [argument.replace(TASK, "0") for argument in arguments])  # of an array, the first task
    sizes, its_sizes = _numbers(asked), _numbers(site)
    # what a run was trained on is no wish of the user's, who may say otherwise
    allotment = allotted(sizes, its_sizes, [*([] if sizes else said.run), *said.sweep, *said.user])
    if allotment.reason and verb in ON_DEVICES:
        info(allotment.reason)
    environment = chosen(options, bool(allotment.gpus))
    if "bind" in asked and environment.kind != "apptainer":
        raise ValueError(f"--bind is for a container, and this is {environment.kind}\n  mend: name one: --image FILE")
    if problems := missing(verb, [*said.run, *said.user], environment):
        raise FileNotFoundError("\n".join(problems) + "\n  mend: name files that are there (URLs are not looked for)")
    _check_array(verb, arguments, options)
    _check_time(options)
    return Job(
        name=_name(verb, arguments, said),
        verb=verb,
        arguments=tuple(without(arguments) if verb in ON_DEVICES else arguments),
        resources=_resources(options, allotment),
        environment=environment,
        log_dir=Path(options.get("log_dir", LOG_DIR)).expanduser().absolute(),
        directory=Path.cwd(),
        array=options.get("array"),
        after=options.get("after"),
        signal_before=options.get("signal_before", 0),
        max_restarts=options.get("max_restarts", MAX_RESTARTS),
        stage=(options["stage"] or STAGE) if "stage" in options else None,
    )


def _said(verb: str, arguments: Sequence[str]) -> Said:
    """What configs and options say; nothing for verbs that train nothing."""
    if verb not in ON_DEVICES:
        return Said([], [], [])
    positional = bool(arguments) and not arguments[0].startswith("-")
    run = [arguments[0]] if positional and verb in FILE_OF else []
    if verb in FILE_OF and not _is_of_sweep(run):
        arguments = with_run([verb, *arguments])[1:]
    files, options = configs.split(arguments)
    content = configs.options(options).content
    run += [str(content["resume"])] if content.get("resume") else []
    if verb == "sweep" and positional and not Path(arguments[0]).is_file():
        raise FileNotFoundError(f"no file {arguments[0]} for salt sweep\n  mend: name a YAML file with the parameters")
    of_runs = [run_config(each) for each in run if not _is_of_sweep([each])]
    sources = [configs.read(packaged_config(file)) for file in files if file not in of_runs]
    study = Path(str(content.get("study") or "")) if verb == "sweep" else Path()
    return Said(
        [configs.read(file) for file in of_runs],
        [*sources, Source(COMMAND_LINE, content)],
        [_beginning(study)] if "study" in content and is_sweep(study) else [],
    )


def _beginning(study: Path) -> Source:
    """The options that a sweep began with."""
    return Source(str(study / PLAN), configs.options([str(word) for word in read_plan(study)["arguments"]]).content)


def _is_of_sweep(run: Sequence[str]) -> bool:
    """Whether the folder that is named is that of a sweep, of which each member has a config."""
    return any(not is_url(each) and is_sweep(each) for each in run)


def _numbers(options: Mapping[str, Any]) -> dict[str, int]:
    """The options of how many, as numbers."""
    numbers = {name: options[name] for name in SIZES if name in options}
    return {**numbers, **({"gpus": options["gpus"][0]} if "gpus" in options else {})}


def _resources(options: Mapping[str, Any], allotment: Allotment) -> Resources:
    _, gpu_type = options.get("gpus", (0, None))
    cpus = CPUS_WITH_GPU if allotment.gpus else 1
    return Resources(
        nodes=allotment.nodes,
        gpus=allotment.gpus,
        tasks=allotment.tasks,
        gpu_type=gpu_type,
        extra=tuple(options.get("extra", ())),
        **{"cpus": cpus, **{name: options[name] for name in AS_GIVEN if name in options}},
    )


def _check_array(verb: str, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """Tasks of an array are to differ, or to share their work."""
    has_number = any(TASK in argument for argument in arguments)
    if options.get("array", 1) > 1 and verb not in SHARED and not has_number:
        raise ValueError(
            f"--array {options['array']}: all tasks would be the same salt {verb}\n"
            f"  mend: write {TASK} where they differ, as --seed_everything={TASK} --log_suffix=seed{TASK}"
        )
    if has_number and "array" not in options:
        raise ValueError(f"{TASK} is the number of a task, and there are no tasks\n  mend: --array N, or leave it out")


def _check_time(options: Mapping[str, Any]) -> None:
    """The time at which a job is to save is to be within its time, which is easily written too short."""
    minutes, time = options.get("signal_before", 0), options.get("time")
    if time and time.count(":") == 1 and "-" not in time:
        warn("--time %s is %s, in hours:minutes:seconds", time, amounts.in_words(amounts.seconds(time)))
    if minutes and time and amounts.seconds(time) <= minutes * 60:
        all_of_it = amounts.in_words(amounts.seconds(time))
        raise ValueError(
            f"--signal-before {minutes} (minutes) leaves nothing of --time {time}, which is {all_of_it}"
            "\n  mend: fewer minutes, or more time"
        )


def _name(verb: str, arguments: Sequence[str], said: Said) -> str:
    """Name of the job: that of the run, with the verb where it is no training."""
    short = next((value for key, value in pairwise(arguments) if key == "-n"), None)
    name = short or merged([*said.run, *said.user]).get("name") or "salt"
    return re.sub(r"[^\w.-]+", "_", str(name) if verb == "fit" else f"{name}_{verb}").strip("_.") or "salt"

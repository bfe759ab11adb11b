"""CometLogger: Lightning's, but it records offline, finds a dead server in seconds, and gives away less."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import yaml
from lightning.pytorch.loggers import comet
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.loggers.reach import ends_in_time, unreachable

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

PATIENCE = {
    "COMET_TIMEOUT_HTTP": "4",
    "COMET_HTTP_SESSION_RETRY_TOTAL": "1",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": "1",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_BACKOFF_FACTOR": "1",
    "COMET_ERROR_TRACKING_ENABLE": "0",  # reports of Comet's own faults to a third party
}
"""Settings of the client, where the environment does not have them: its own keep a training waiting for minutes."""

END_SECONDS = 9.0
"""How long the end of a run waits for a server that is dead; one that answers may take its time."""

RUN_FILE = "comet.yaml"
"""File of the run directory that says which experiment it is: a resumed run goes on with it."""


class CometLogger(comet.CometLogger):
    """Log to Comet; without a key, or where Comet does not answer, into a zip in the run's directory.

    `comet upload FILE.zip` sends such a file later. Source code, git details, the packages and the host are kept to
    ourselves unless asked for.

    Parameters
    ----------
    api_key : str | None
        The key; better in COMET_API_KEY or PL_TRAINER__LOGGER__API_KEY. It is never saved.
    workspace, project : str | None
        Where the experiment belongs; None: Comet's default, or COMET_WORKSPACE.
    experiment_key : str | None
        An experiment to go on with; None: that of the run's directory, else a new one.
    mode : Literal["get_or_create", "get", "create"] | None
        Whether the experiment has to exist.
    online : bool | None
        False: offline, whatever else there is; None: online where there is a key.
    prefix : str | None
        What to put in front of the metrics' names.
    name : str | None
        Name of the experiment.
    tags : list[str] | None
        Its tags.
    offline_directory : str | None
        Where the zip goes; the run's directory by default.
    log_code, log_graph, log_git_metadata, log_git_patch, log_env_details : bool
        What else Comet is given. `log_env_details`: the command line, host, user, packages, the load of the machine.
    auto_output_logging : Literal["default", "native", "simple"] | bool
        Whether what the program prints is sent too.
    display_summary_level : int
        How much Comet prints at the end.
    project_name, experiment_name, save_dir, offline, rest_api_key
        Old names: project, name, offline_directory, not online; the last one is no longer needed.
    kwargs : Any
        More arguments of comet_ml.ExperimentConfig.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        workspace: str | None = None,
        project: str | None = None,
        experiment_key: str | None = None,
        mode: Literal["get_or_create", "get", "create"] | None = None,
        online: bool | None = None,
        prefix: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        offline_directory: str | None = None,
        log_code: bool = False,
        log_graph: bool = False,
        log_git_metadata: bool = False,
        log_git_patch: bool = False,
        log_env_details: bool = False,
        auto_output_logging: Literal["default", "native", "simple"] | bool = False,
        display_summary_level: int = 0,
        project_name: str | None = None,
        experiment_name: str | None = None,
        save_dir: str | None = None,
        offline: bool | None = None,
        rest_api_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        for key, value in PATIENCE.items():
            os.environ.setdefault(key, value)
        self._folder = offline_directory or save_dir
        self._may_be_online = online is not False and not offline
        self._may_begin = False
        with _quiet():
            super().__init__(
                api_key=api_key,
                workspace=workspace,
                project=project or project_name,
                experiment_key=experiment_key,
                mode=mode,
                prefix=prefix or None,  # an empty one would make a name of _name
                name=name or experiment_name,
                tags=tags,
                offline_directory=self._folder,
                log_code=log_code,
                log_graph=log_graph,
                log_git_metadata=log_git_metadata,
                log_git_patch=log_git_patch,
                log_env_details=log_env_details,
                parse_args=False,  # the command line is the config's affair
                auto_output_logging=auto_output_logging,
                display_summary_level=display_summary_level,
                **kwargs,
            )
        self._may_begin = True

    def _create_experiment(self) -> None:
        """Begin, online where that is possible within seconds; on rank 0, when `experiment` is asked for first.

        Lightning would begin before anything else is built, and leave an experiment of each mistake.
        """
        if not self._may_begin:
            return
        if self._experiment_key is None and (key := self._key_of_run()):
            self._experiment_key, self._mode = key, self._mode or "get_or_create"
        reason = self._why_offline()
        if reason is None:
            reason = self._begin(online=True)
            if reason is None:
                info("Comet: %s", self._experiment.url)  # type: ignore[union-attr]
                return
        say = warn if self._may_be_online else info
        say("Comet: %s; recording offline, into %s", reason, self._folder or ".")
        if failure := self._begin(online=False):
            raise ValueError(f"Comet cannot record offline: {failure}\n  mend: leave the logger out, or correct it")

    def _why_offline(self) -> str | None:
        """What speaks against trying to reach the server; None: nothing."""
        from comet_ml.config import get_config

        if not self._may_be_online:
            return "online is false"
        config = get_config()
        if not config.get_string(self._api_key, "comet.api_key"):
            return "no key (COMET_API_KEY)"
        if cause := unreachable(self._server()):
            return f"{self._server()} cannot be reached ({cause})"
        return None

    def _server(self) -> str:
        """Something that the server answers to."""
        from comet_ml.config import get_backend_address  # the client's own reading of all its settings

        return urljoin(get_backend_address(), "health/ping")

    def _is_dead(self) -> bool:
        """Whether there is a server that has to get something, and it does not answer."""
        return bool(self._online) and unreachable(self._server()) is not None

    def _begin(self, online: bool) -> str | None:
        """Start an experiment; what went wrong, without the key, or None."""
        self._online = online
        try:
            if self._folder is not None:
                Path(self._folder).mkdir(parents=True, exist_ok=True)
            with _quiet():
                super()._create_experiment()
        except Exception as error:  # whatever it is, training is worth more
            self._experiment = None
            return f"it refused ({type(error).__name__})"  # the text may hold the key
        if not self._experiment.alive:  # type: ignore[union-attr]
            self._experiment = None
            return "it refused to begin an experiment (is the key right?)"
        self._remember()
        return None

    def _key_of_run(self) -> str | None:
        file = Path(self._folder or ".") / RUN_FILE
        return yaml.safe_load(file.read_text()).get("experiment_key") if self._folder and file.is_file() else None

    def _remember(self) -> None:
        """Write down in the run's directory which experiment this is."""
        if self._folder is None:
            return
        file = Path(self._folder) / RUN_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.part")
        temporary.write_text(yaml.safe_dump({"experiment_key": self._experiment_key, "online": self._online}))
        temporary.rename(file)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the experiment: all is sent, or lies in a zip, when this returns."""
        experiment: Any = self._experiment
        if experiment is None or experiment.ended:
            return
        is_dead = self._is_dead()
        if is_dead:  # or the client would tell the server about it all for a minute, and only then write its zip
            experiment.streamer.server_connection_monitor.connection_failed("no answer at the end of the run")
            experiment.alive = False
        with _quiet():
            has_ended = ends_in_time(experiment.end, END_SECONDS, lambda: is_dead or self._is_dead())
        if is_dead or not has_ended:
            warn("Comet went away; what it did not get lies in %s, all metrics in metrics.csv", self._folder or ".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Comet's own messages fill pages, and show a key that is refused; we say what matters."""
    log = logging.getLogger("comet_ml")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)

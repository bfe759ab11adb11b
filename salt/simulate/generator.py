"""The generator: Pythia 8, set up for a process and seeded for a chunk of events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from salt.simulate import events

BATCH_EVENTS = 100  # per call of nextBatch: bounds the memory of the full event records
INIT_SEED = 1  # only finds maxima; each chunk reseeds, so a generator can serve any chunk in any order

# Multiparton interactions take four fifths of Pythia's time. They are off for the signal, and its underlying
# event is overlaid from the minimum-bias pool (overlay.py), whose events do have them.
HARD = ("PartonLevel:MPI = off",)


@dataclass(frozen=True, slots=True)
class Process:
    """What collides.

    Parameters
    ----------
    name : str
        Word of the command line.
    number : int
        Enters the seeds; never reused for another process.
    settings : tuple[str, ...]
        Pythia's settings beyond the beams.
    weighted : bool
        Whether events carry a weight that differs from 1.
    """

    name: str
    number: int
    settings: tuple[str, ...]
    weighted: bool = False


TTBAR = Process("ttbar", 1, ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *HARD))
# A sample as rich in hard jets as in soft ones, as the JZ slices of an experiment: weights restore the spectrum.
DIJET = Process(
    "dijet",
    2,
    (
        "HardQCD:all = on",
        "PhaseSpace:pTHatMin = 20",
        "PhaseSpace:bias2Selection = on",
        "PhaseSpace:bias2SelectionPow = 4",
        "PhaseSpace:bias2SelectionRef = 20",
        *HARD,
    ),
    weighted=True,
)
# A Z' of 2 TeV that decays to b, c, light and tau alike: vector couplings with g(u)^2 + g(d)^2 = g(b)^2 = g(c)^2
# and g(tau)^2 = 3 g(b)^2, which makes up for the quarks' three colours.
ZPRIME = Process(
    "zprime",
    3,
    (
        "NewGaugeBoson:ffbar2gmZZprime = on",
        "Zprime:gmZmode = 3",
        "Zprime:universality = off",
        "32:m0 = 2000",
        *(f"Zprime:a{flavour} = 0" for flavour in ("d", "u", "c", "b", "tau")),
        "Zprime:vd = 0.70710678",
        "Zprime:vu = 0.70710678",
        "Zprime:vc = 1",
        "Zprime:vb = 1",
        "Zprime:vtau = 1.7320508",
        "32:onMode = off",
        "32:onIfAny = 1 2 4 5 15",
        *HARD,
    ),
)
MINIMUM_BIAS = Process("minbias", 4, ("SoftQCD:nonDiffractive = on",))
PROCESSES = {process.name: process for process in (TTBAR, DIJET, ZPRIME)}


def check_installed() -> None:
    """Raise ModuleNotFoundError, with the mend, unless all that simulation needs can be imported."""
    from importlib.util import find_spec

    missing = [name for name in ("pythia8mc", "fastjet", "awkward") if find_spec(name) is None]
    if missing:
        message = f"simulating needs {', '.join(missing)}, not installed here: pip install 'salt-hep[simulate]'"
        raise ModuleNotFoundError(message)


def version() -> str:
    """The generator's version, as written into files."""
    from importlib.metadata import version as distribution_version

    return f"pythia8mc {distribution_version('pythia8mc')}"


@cache
def make_generator(process: Process) -> Any:
    """An initialised Pythia, one per process of the operating system and physics process."""
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    settings = ("Print:quiet = on", "Beams:eCM = 13000.", "Random:setSeed = on", f"Random:seed = {INIT_SEED}")
    for setting in (*settings, *process.settings):
        if not pythia.readString(setting):
            raise ValueError(f"Pythia does not accept the setting {setting!r} of process {process.name}")
    if not pythia.init():
        raise RuntimeError(f"Pythia could not start the process {process.name}: settings {process.settings}")
    return pythia


def generate(process: Process, num_events: int, seed: int) -> events.Events:
    """Generate events; the same seed gives the same events whatever was generated before.

    Parameters
    ----------
    process : Process
        What collides.
    num_events : int
        How many events.
    seed : int
        Between 1 and 900,000,000, Pythia's range.
    """
    pythia = make_generator(process)
    pythia.rndm.init(seed)
    parts = []
    for first in range(0, num_events, BATCH_EVENTS):
        batch = pythia.nextBatch(min(BATCH_EVENTS, num_events - first))
        parts.append(events.from_awkward(batch))
    return events.concatenate(parts)

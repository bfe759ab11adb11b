"""Where particles come from: heavy hadrons and the decays that lead to a track.

Shapes: P particles, S selected rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salt.simulate.events import TAU, Array, Events

BOTTOM, CHARM = 5, 4
# Codes of hadrons whose c tau exceeds 1 cm: K0S, Lambda, Sigma-, Sigma+, Xi0, Xi-, Omega-.
STRANGE_LONG_LIVED = (310, 3122, 3112, 3222, 3322, 3312, 3334)
DECAY_PRODUCT = (91, 99)  # Pythia's status codes of decay products, manual "Particle Properties"


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Decays above some particles.

    Parameters
    ----------
    from_bottom, from_charm, from_tau, from_strange, from_hadron : Array
        (S,) whether such an ancestor decayed into the particle; bottom and charm hadrons count where they decay weakly.
    heavy : Array
        (S,) row of the nearest weakly decaying bottom or charm hadron above, or -1.
    """

    from_bottom: Array
    from_charm: Array
    from_tau: Array
    from_strange: Array
    from_hadron: Array
    heavy: Array


def heaviest_quark(code: Array) -> Array:
    """Heaviest quark of open-flavour hadrons; 0 for quarkonia, diquarks and all that is no hadron."""
    size = np.abs(code)
    ones, tens, hundreds, thousands = (size // 10**power % 10 for power in range(4))
    meson = (thousands == 0) & (hundreds > 0) & (tens > 0) & (hundreds != tens)
    baryon = (thousands > 0) & (hundreds > 0) & (tens > 0)
    quark = np.where(baryon, thousands, np.where(meson, hundreds, 0))
    return np.where((size > 100) & (size < 1_000_000) & (ones > 0), quark, 0)


def weakly_decaying(events: Events, quark: Array) -> Array:
    """(P,) whether a bottom or charm hadron decays into none of its own flavour."""
    rows = np.flatnonzero((quark == BOTTOM) | (quark == CHARM))
    mother = events.mother[rows]
    inherited = rows[(mother != rows) & (quark[mother] == quark[rows])]
    weak = np.zeros(len(quark), bool)
    weak[rows] = True
    weak[events.mother[inherited]] = False
    return weak & ~events.final


def trace(events: Events, rows: Array, quark: Array, weak: Array) -> Ancestry:
    """Follow decay products upwards to the hadron, tau or resonance that they began as.

    Parameters
    ----------
    events : Events
        The particles.
    rows : Array
        (S,) particles to follow.
    quark : Array
        (P,) `heaviest_quark` of all.
    weak : Array
        (P,) whether a particle is a weakly decaying bottom or charm hadron.
    """
    size = np.abs(events.code)
    own = {
        "bottom": weak & (quark == BOTTOM),
        "charm": weak & (quark == CHARM),
        "tau": size == TAU,
        "strange": np.isin(size, STRANGE_LONG_LIVED),
        "hadron": size > 100,
    }
    found = {name: np.zeros(len(rows), bool) for name in own}
    heavy = np.full(len(rows), -1)
    low, high = DECAY_PRODUCT
    active, current = np.arange(len(rows)), np.asarray(rows)
    while len(active):
        status = np.abs(events.status[current])
        decayed = (status >= low) & (status <= high) & (events.mother[current] < current)
        active, current = active[decayed], events.mother[current[decayed]]
        for name in own:
            found[name][active] |= own[name][current]
        fresh = weak[current] & (heavy[active] < 0)
        heavy[active[fresh]] = current[fresh]
    return Ancestry(
        from_bottom=found["bottom"],
        from_charm=found["charm"],
        from_tau=found["tau"],
        from_strange=found["strange"],
        from_hadron=found["hadron"],
        heavy=heavy,
    )

"""Generated NanoAOD events of the campaign ``demo``: nine datasets of the AGC's analysis of top-quark pairs.

Each event passes four stages, one module each, as arrays over all events of a block:

* ``processes``: the hard process, decays of top quarks and W bosons, and the generator filter;
* ``shower``: gluons hard enough for a jet of their own, decays of tau leptons;
* ``particles``: the generator record ``GenPart``, with mothers and status flags;
* ``jets`` and ``leptons``: clustering, resolution, lost objects, pile-up, flavour tagging and identification.

``kinematics`` has the relativity, ``quantiles`` the shapes of detector quantities read off simulated CMS events,
``datasets`` what distinguishes one dataset from another, and ``nanoaod`` writes the file.

Decays are exact. Production spectra and radiation are simple shapes, tuned such that the AGC's selection gives the
AGC's published yields and distributions (electron channel; muons, whose identification is defective in the AGC's
files, work here and add a little more than as much again), the published differences between top-quark pair
simulations, and jets that are as hard to assign to top quarks as in full simulation. Between jets there are no
correlations but those of kinematics.

The filter keeps events with a charged lepton and at least four partons, and events without leptons but six hard
partons. How many events there are and what they weigh is not known here but to the campaign.

    >>> from analysis.generator import DATASETS, generate_events
    >>> DATASETS["ttbar"].hardness
    120.0
    >>> events = generate_events("ttbar", 10, seed=1)
    >>> events.n_events, len(events.branches), events.content["Jet_pt"].dtype.name
    (10, 69, 'float32')
"""

from __future__ import annotations

from .datasets import DATASETS, UnknownDatasetError
from .events import GeneratedEvents, generate_events
from .nanoaod import write_nanoaod

__all__ = [
    "DATASETS",
    "GeneratedEvents",
    "UnknownDatasetError",
    "generate_events",
    "write_nanoaod",
]

"""All column functions of this analysis: importing this module registers them. A new module is named here."""

from __future__ import annotations

from analysis.columnar import assignments, corrections, objects, observables, partons, selection, weights

__all__ = ["assignments", "corrections", "objects", "observables", "partons", "selection", "weights"]

# it only registers: the code of a stage is that of the modules behind its columns, not of all that are named here
__plumbing__ = True

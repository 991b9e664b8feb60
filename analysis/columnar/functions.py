"""All column functions of this analysis: importing this module registers them. A new module is named here."""

from __future__ import annotations

from analysis.columnar import assignments, corrections, objects, observables, partons, selection

__all__ = ["assignments", "corrections", "objects", "observables", "partons", "selection"]

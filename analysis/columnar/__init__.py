"""Column functions: pure functions from events to columns, each written once and used at every stage that needs it.

A column is named as the physicist says it, ``event`` or ``Jet.pt``; NanoAOD calls the latter ``Jet_pt``. Importing
:mod:`analysis.columnar.functions` registers all column functions of this analysis.
"""

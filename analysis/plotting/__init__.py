"""Figures, tables and the report: pure functions from results to :class:`matplotlib.figure.Figure` or text.

One module per kind of input: :mod:`~analysis.plotting.stack` and :mod:`~analysis.plotting.shifts` draw templates,
:mod:`~analysis.plotting.cutflow` the selection, :mod:`~analysis.plotting.training` the classifier and
:mod:`~analysis.plotting.fit` the fit; :mod:`~analysis.plotting.tables` and :mod:`~analysis.plotting.report` write text.
"""

from __future__ import annotations

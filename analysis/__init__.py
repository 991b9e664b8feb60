"""A CMS Open Data ttbar measurement, and the workflow engine that carries it.

The packages, in the order data flows: :mod:`~analysis.config` says what is analysed, :mod:`~analysis.columnar` turns
events into columns, :mod:`~analysis.ml` trains and applies classifiers, :mod:`~analysis.stats` fits,
:mod:`~analysis.plotting` shows, and :mod:`~analysis.tasks` wires them into a workflow that
:mod:`~analysis.engine` makes safe to rerun.
"""

from __future__ import annotations

__version__ = "0.1.0"

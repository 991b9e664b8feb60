"""The chain, one module per stage, in the order data flows."""

from __future__ import annotations

from analysis.tasks.build_model import BuildModel
from analysis.tasks.doctor import Doctor
from analysis.tasks.evaluate_model import EvaluateModel
from analysis.tasks.fill_histograms import FillHistograms, MergeHistograms
from analysis.tasks.fit_model import FitModel
from analysis.tasks.generate_events import GenerateEvents
from analysis.tasks.index_files import IndexFiles
from analysis.tasks.plot_cutflow import PlotCutflow
from analysis.tasks.plot_fit import PlotFit
from analysis.tasks.plot_pulls import PlotPulls
from analysis.tasks.plot_shifts import PlotShifts
from analysis.tasks.plot_training import PlotTraining
from analysis.tasks.plot_variables import PlotVariables
from analysis.tasks.produce_columns import ProduceColumns
from analysis.tasks.reduce_events import ReduceEvents
from analysis.tasks.report import Report
from analysis.tasks.select_events import SelectEvents
from analysis.tasks.tabulate_yields import TabulateYields
from analysis.tasks.train_model import TrainModel

__all__ = [
    "BuildModel",
    "Doctor",
    "EvaluateModel",
    "FillHistograms",
    "FitModel",
    "GenerateEvents",
    "IndexFiles",
    "MergeHistograms",
    "PlotCutflow",
    "PlotFit",
    "PlotPulls",
    "PlotShifts",
    "PlotTraining",
    "PlotVariables",
    "ProduceColumns",
    "ReduceEvents",
    "Report",
    "SelectEvents",
    "TabulateYields",
    "TrainModel",
]

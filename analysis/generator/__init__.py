"""Generated NanoAOD events of the campaign ``demo``."""

from __future__ import annotations

from .datasets import DATASETS, LUMINOSITY, GeneratedDataset, UnknownDatasetError
from .events import GeneratedEvents, generate_events
from .nanoaod import write_nanoaod

__all__ = [
    "DATASETS",
    "LUMINOSITY",
    "GeneratedDataset",
    "GeneratedEvents",
    "UnknownDatasetError",
    "generate_events",
    "write_nanoaod",
]

"""Setting up pyhf and cabinetry for the duration of a call."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

log = logging.getLogger(__name__)


@contextmanager
def quiet_numpy_backend() -> Iterator[None]:
    """Run cabinetry and pyhf with the numpy backend, without their progress messages and what Minuit prints.

    Both keep global state: cabinetry exchanges pyhf's optimiser and leaves it exchanged if a fit fails. Backend and log
    levels are as before afterwards, so that calls neither depend on what ran earlier in the process nor leave traces.
    Undefined logarithms do not warn: Minuit tries parameters with negative predictions and steps back.
    """
    import numpy as np
    import pyhf

    loggers = [logging.getLogger(name) for name in ("cabinetry", "pyhf")]
    levels = [logger.level for logger in loggers]
    backend, optimizer = pyhf.get_backend()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # pyhf logs failed fits, which raise anyway, with all their tables
    pyhf.set_backend("numpy")
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), np.errstate(divide="ignore", invalid="ignore"):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            log.debug("%s", line)
        pyhf.set_backend(backend, optimizer)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

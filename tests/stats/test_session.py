from __future__ import annotations

import logging

import pyhf
import pytest

from analysis.stats.session import quiet_numpy_backend


def test_everything_is_as_before_even_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("cabinetry")
    level, (backend, optimizer) = logger.level, pyhf.get_backend()

    def fail() -> None:
        with quiet_numpy_backend():
            assert logger.level == logging.CRITICAL
            assert pyhf.tensorlib.name == "numpy"
            pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(verbose=1))
            print("W MnPosDef")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert logger.level == level
    assert pyhf.get_backend() == (backend, optimizer)
    assert pyhf.get_backend()[1] is optimizer
    assert capsys.readouterr().out == ""

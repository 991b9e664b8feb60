"""Shapes of detector quantities, as quantiles at equal steps of probability.

They were read off 1000 simulated top-quark pair events of CMS (NanoAODv5), smoothed where those were few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .record import FloatArray

B_TAG_BOTTOM = (
    0.058, 0.196, 0.330, 0.505, 0.673, 0.767, 0.835, 0.873, 0.899, 0.924, 0.945, 0.961, 0.973, 0.982, 0.988, 0.992,
    0.994, 0.996, 0.9976, 0.9985, 0.999,
)  # fmt: skip
B_TAG_CHARM = (
    0.055, 0.084, 0.100, 0.127, 0.151, 0.169, 0.201, 0.241, 0.293, 0.350, 0.414, 0.498, 0.558, 0.629, 0.697, 0.762,
    0.807, 0.837, 0.887, 0.932, 0.998,
)  # fmt: skip
B_TAG_LIGHT = (
    0.035, 0.073, 0.084, 0.092, 0.102, 0.113, 0.126, 0.135, 0.145, 0.158, 0.171, 0.188, 0.206, 0.228, 0.259, 0.310,
    0.360, 0.444, 0.546, 0.673, 0.990,
)  # fmt: skip
QUARK_GLUON_LIGHT = (
    0.001, 0.035, 0.078, 0.123, 0.202, 0.281, 0.351, 0.441, 0.548, 0.642, 0.726, 0.802, 0.856, 0.898, 0.927, 0.952,
    0.973, 0.983, 0.991, 0.997, 0.9995,
)  # fmt: skip
QUARK_GLUON_CHARM = (
    0.0005, 0.015, 0.047, 0.081, 0.112, 0.176, 0.234, 0.287, 0.381, 0.470, 0.553, 0.662, 0.744, 0.808, 0.872, 0.908,
    0.945, 0.969, 0.987, 0.996, 0.9995,
)  # fmt: skip
QUARK_GLUON_BOTTOM = (
    0.0006, 0.009, 0.024, 0.040, 0.067, 0.101, 0.143, 0.200, 0.271, 0.367, 0.455, 0.550, 0.646, 0.730, 0.811, 0.868,
    0.912, 0.952, 0.980, 0.992, 0.9995,
)  # fmt: skip
QUARK_GLUON_GLUON = (
    0.0009, 0.009, 0.019, 0.029, 0.045, 0.060, 0.080, 0.119, 0.152, 0.221, 0.290, 0.365, 0.456, 0.559, 0.672, 0.796,
    0.911, 0.958, 0.993, 0.9985, 0.9995,
)  # fmt: skip
QUARK_GLUON_PILEUP = (
    0.059, 0.358, 0.562, 0.786, 0.865, 0.952, 0.970, 0.977, 0.983, 0.987, 0.992, 0.994, 0.996, 0.997, 0.9985, 0.999,
    0.999, 0.9993, 0.9995, 0.9995, 0.9995,
)  # fmt: skip
JET_MASS_FRACTION = (0.041, 0.106, 0.123, 0.136, 0.148, 0.158, 0.170, 0.184, 0.199, 0.216, 0.300)
"""Jet mass over transverse momentum."""

ELECTRON_PROMPT_SIP = (0.09, 0.48, 0.68, 0.87, 1.07, 1.28, 1.49, 1.79, 2.17, 3.15, 40.0)
ELECTRON_HEAVY_SIP = (0.08, 0.85, 1.42, 2.28, 3.62, 4.52, 5.84, 7.73, 13.1, 25.1, 300.0)
ELECTRON_FAKE_SIP = (0.06, 0.56, 0.85, 1.14, 1.56, 1.99, 2.62, 3.37, 6.12, 17.4, 148.0)
ELECTRON_PROMPT_ISOLATION = (0.0, 0.0, 0.0, 0.0, 0.0012, 0.0077, 0.018, 0.029, 0.058, 0.123, 1.6)
MUON_PROMPT_SIP = (0.12, 0.29, 0.44, 0.59, 0.76, 0.91, 1.06, 1.19, 1.39, 2.08, 8.0)
MUON_HEAVY_SIP = (0.09, 1.10, 1.67, 3.48, 5.09, 7.04, 10.2, 18.9, 27.5, 37.7, 70.4)
MUON_PROMPT_ISOLATION = (0.0, 0.0, 0.0, 0.0047, 0.0106, 0.0187, 0.0284, 0.0476, 0.0898, 0.22, 1.4)
NONPROMPT_ISOLATION = (0.01, 0.30, 0.50, 0.60, 0.80, 1.10, 1.50, 1.80, 2.40, 3.20, 5.80)


def sample_quantiles(table: tuple[float, ...], uniform: FloatArray) -> FloatArray:
    """The value at a probability, linear between the steps of a table.

    Args:
        table: quantiles at equal steps from probability 0 to 1.
        uniform: probabilities in [0, 1].

    Returns:
        Values, of the same shape as ``uniform``, single precision.
    """
    values: FloatArray = np.asarray(table, dtype=np.float32)
    position = uniform * np.float32(len(table) - 1)
    lower = np.minimum(position.astype(np.int32), len(table) - 2)
    below = values[lower]
    value: FloatArray = below + (values[lower + 1] - below) * (position - lower.astype(np.float32))
    return value

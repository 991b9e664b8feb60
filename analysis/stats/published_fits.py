"""Results of the fits that were published with the Analysis Grand Challenge.

Source: https://github.com/root-project/analysis-grand-challenge, ``analyses/cms-open-data-ttbar``, ``RooFitResult``
objects of one and ten files per process (``fitResults_1_file.root``, ``fitResults_10_file.root``), fitted to histograms
by ROOT's RDataFrame. uproot reads their covariance matrices, but not the parameters, hence the table. The AGC's own
notebook quotes the parameter of interest only.
"""

from __future__ import annotations

from typing import NamedTuple


class PublishedParameter(NamedTuple):
    """Best-fit value and uncertainty of a parameter, under the name it has in our model."""

    name: str
    one_file: tuple[float, float]
    ten_files: tuple[float, float]


class PublishedValue(NamedTuple):
    """A value of the parameter of interest that somebody else found.

    Args:
        files: files per process, as in the name of the histogram file.
        value: best-fit value.
        error: its uncertainty; ``None`` if it is not known.
        what: who fitted what.
    """

    files: str
    value: float
    error: float | None
    what: str


VALUES: tuple[PublishedValue, ...] = (
    PublishedValue("1", 0.96672, 0.10599, "RooFit, RDataFrame histograms"),
    PublishedValue("5", 0.94520, 0.09742, "RooFit, RDataFrame histograms"),
    PublishedValue("5", 0.960, 0.088, "AGC notebook, coffea histograms"),
    PublishedValue("10", 0.95149, 0.09317, "RooFit, RDataFrame histograms"),
    PublishedValue("1", 0.9603, None, "cabinetry 0.6.0 alone, these histograms"),
    PublishedValue("10", 0.9570, None, "cabinetry 0.6.0 alone, these histograms"),
    PublishedValue("all", 0.9465, None, "cabinetry 0.6.0 alone, these histograms"),
)
"""Values to compare with. Histograms of five files per process were not published, so that we have no fit of them."""

ROOFIT: tuple[PublishedParameter, ...] = (
    PublishedParameter("ttbar_norm", (0.96672, 0.10599), (0.95149, 0.09317)),
    PublishedParameter("ME variation", (0.46334, 0.15428), (0.47953, 0.12454)),
    PublishedParameter("PS variation", (0.41353, 0.17185), (0.42079, 0.11774)),
    PublishedParameter("ttbar scale variations", (0.05260, 0.40878), (0.27405, 0.38037)),
    PublishedParameter("Jet energy scale", (-0.04367, 0.25877), (-0.10875, 0.15694)),
    PublishedParameter("Jet energy resolution", (0.04806, 0.25132), (0.15100, 0.37049)),
    PublishedParameter("b-tag NP 1", (-0.04687, 0.51635), (-0.05485, 0.52091)),
    PublishedParameter("b-tag NP 2", (0.07047, 0.77866), (0.32359, 0.81020)),
    PublishedParameter("b-tag NP 3", (-0.09059, 0.90044), (-0.11484, 0.91888)),
    PublishedParameter("b-tag NP 4", (-0.12667, 0.94525), (-0.34296, 0.96706)),
    PublishedParameter("W+jets scale variations", (-0.07143, 0.98915), (-0.17678, 0.98257)),
    PublishedParameter("Luminosity", (-0.12400, 0.98144), (-0.33109, 0.97000)),
    PublishedParameter("staterror_4j1b-CR[0]", (0.95457, 0.13134), (1.00270, 0.08275)),
    PublishedParameter("staterror_4j1b-CR[1]", (0.98341, 0.04275), (0.99110, 0.02067)),
    PublishedParameter("staterror_4j1b-CR[2]", (0.97458, 0.02132), (0.99128, 0.01143)),
    PublishedParameter("staterror_4j1b-CR[3]", (0.98893, 0.02291), (0.99550, 0.01057)),
    PublishedParameter("staterror_4j1b-CR[4]", (0.98854, 0.02142), (0.99834, 0.01077)),
    PublishedParameter("staterror_4j1b-CR[5]", (0.99507, 0.02081), (1.00080, 0.01190)),
    PublishedParameter("staterror_4j1b-CR[6]", (0.99970, 0.02528), (0.99934, 0.01448)),
    PublishedParameter("staterror_4j1b-CR[7]", (1.02171, 0.03282), (1.00653, 0.01610)),
    PublishedParameter("staterror_4j1b-CR[8]", (1.00342, 0.04434), (1.00825, 0.02041)),
    PublishedParameter("staterror_4j1b-CR[9]", (1.02218, 0.05545), (1.00708, 0.02117)),
    PublishedParameter("staterror_4j1b-CR[10]", (1.02467, 0.04854), (1.00613, 0.02516)),
    PublishedParameter("staterror_4j2b-SR[0]", (1.00660, 0.01506), (1.00273, 0.00604)),
    PublishedParameter("staterror_4j2b-SR[1]", (1.00042, 0.01090), (0.99992, 0.00418)),
    PublishedParameter("staterror_4j2b-SR[2]", (1.00188, 0.01626), (1.00100, 0.00602)),
    PublishedParameter("staterror_4j2b-SR[3]", (0.99670, 0.01553), (0.99999, 0.00772)),
    PublishedParameter("staterror_4j2b-SR[4]", (1.00333, 0.01786), (0.99973, 0.00849)),
    PublishedParameter("staterror_4j2b-SR[5]", (0.99798, 0.02547), (0.99846, 0.01045)),
    PublishedParameter("staterror_4j2b-SR[6]", (0.99192, 0.02335), (0.99813, 0.01160)),
    PublishedParameter("staterror_4j2b-SR[7]", (1.00340, 0.02835), (0.99804, 0.01391)),
    PublishedParameter("staterror_4j2b-SR[8]", (1.00491, 0.03760), (0.99768, 0.01561)),
    PublishedParameter("staterror_4j2b-SR[9]", (0.98490, 0.03896), (0.99811, 0.01834)),
    PublishedParameter("staterror_4j2b-SR[10]", (0.98835, 0.03398), (0.99383, 0.01970)),
)
"""All parameters of the RooFit results for one and for ten files per process."""

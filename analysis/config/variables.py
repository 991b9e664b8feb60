"""Variables that are histogrammed.

Source: AGC ttbar specification v2; observables ``Reg(25, 50, 550)``, classifier features with the ranges given there.
"""

from __future__ import annotations

from analysis.config.types import Variable

OBSERVABLES: tuple[Variable, ...] = (
    Variable("ht", "ht", "4j1b", 25, 50, 550, "$H_T$", "GeV"),
    Variable("trijet_mass", "trijet_mass", "4j2b", 25, 50, 550, "$m_{bjj}$", "GeV"),
)
"""The fitted variables, one per region."""

CONTROL: tuple[Variable, ...] = (
    Variable("lepton_pt", "lepton_pt", "4j1b", 25, 25, 275, "lepton $p_T$", "GeV"),
    Variable("n_jets", "n_jets", "4j2b", 8, 3.5, 11.5, "number of jets"),
)


def _feature(name: str, start: float, stop: float, label: str, unit: str = "") -> Variable:
    return Variable(name, name, "4j2b", 25, start, stop, label, unit, needs_model=True)


FEATURES: tuple[Variable, ...] = (
    _feature("deltar_leptonbtoplep", 0, 6, r"$\Delta R(\ell, b_{lep})$"),
    _feature("deltar_w1w2", 0, 6, r"$\Delta R(W_1, W_2)$"),
    _feature("deltar_w1btophad", 0, 6, r"$\Delta R(W_1, b_{had})$"),
    _feature("deltar_w2btophad", 0, 6, r"$\Delta R(W_2, b_{had})$"),
    _feature("mass_leptonbtoplep", 50, 300, r"$m(\ell\, b_{lep})$", "GeV"),
    _feature("mass_w1w2", 50, 300, "$m(W_1 W_2)$", "GeV"),
    _feature("mass_w1w2btophad", 50, 550, "$m(W_1 W_2 b_{had})$", "GeV"),
    _feature("pt_w1w2btophad", 50, 550, "$p_T(W_1 W_2 b_{had})$", "GeV"),
    _feature("pt_w1", 25, 300, "$p_T(W_1)$", "GeV"),
    _feature("pt_w2", 25, 300, "$p_T(W_2)$", "GeV"),
    _feature("pt_btophad", 25, 300, "$p_T(b_{had})$", "GeV"),
    _feature("pt_btoplep", 25, 300, "$p_T(b_{lep})$", "GeV"),
    _feature("btag_w1", 0, 1, "CSVv2$(W_1)$"),
    _feature("btag_w2", 0, 1, "CSVv2$(W_2)$"),
    _feature("btag_btophad", 0, 1, "CSVv2$(b_{had})$"),
    _feature("btag_btoplep", 0, 1, "CSVv2$(b_{lep})$"),
    _feature("qgl_w1", -1, 1, "quark-gluon likelihood$(W_1)$"),
    _feature("qgl_w2", -1, 1, "quark-gluon likelihood$(W_2)$"),
    _feature("qgl_btophad", -1, 1, "quark-gluon likelihood$(b_{had})$"),
    _feature("qgl_btoplep", -1, 1, "quark-gluon likelihood$(b_{lep})$"),
)
"""The classifier's features of the chosen jet assignment, in the order the classifier sees them."""

SCORE = Variable("bdt_score", "bdt_score", "4j2b", 25, 0, 1, "BDT score of the best assignment", needs_model=True)

VARIABLES: dict[str, Variable] = {v.name: v for v in (*OBSERVABLES, *FEATURES, SCORE, *CONTROL)}

"""The statistical model of the measurement.

Source: AGC ttbar specification v2, ``cabinetry_config.yml``: 11 bins above 110 GeV per region.
"""

from __future__ import annotations

from analysis.config.types import FitRegion, StatisticalModel, Systematic

_EDGES = tuple(float(edge) for edge in range(110, 551, 40))

MODEL = StatisticalModel(
    measurement="CMS_ttbar",
    parameter_of_interest="ttbar_norm",
    signal="ttbar",
    bounds=(0.0, 10.0),
    regions=(FitRegion("4j1b CR", "ht", _EDGES), FitRegion("4j2b SR", "trijet_mass", _EDGES)),
    systematics=(
        Systematic("ME variation", "ME_var", processes=("ttbar",)),
        Systematic("PS variation", "PS_var", processes=("ttbar",)),
        Systematic("ttbar scale variations", "scaleup", "scaledown", ("ttbar",)),
        Systematic("Jet energy scale", "pt_scale_up"),
        Systematic("Jet energy resolution", "pt_res_up"),
        *(Systematic(f"b-tag NP {i + 1}", f"btag_var_{i}_up", f"btag_var_{i}_down") for i in range(4)),
        Systematic("W+jets scale variations", "scale_var_up", "scale_var_down", ("wjets",)),
        Systematic("Luminosity", normalization=0.03),
    ),
    pseudodata=("ttbar_ME_var", "ttbar_PS_var"),
    pseudodata_backgrounds=("wjets",),
)

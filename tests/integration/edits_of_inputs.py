"""Edits of the configuration, of the store and of input files, and what they make stale."""

from __future__ import annotations

from tests.integration.edits import (
    FITTED,
    HISTOGRAMS,
    OBSERVED,
    SHIFTED,
    Change,
    Edit,
    remove,
    replace,
    substitute,
    touch,
    truncate,
    write,
)

COLUMNAR, CONFIG, DEMO = "analysis/columnar", "analysis/config", "analysis/config/campaigns/demo.json"
FEWER_BINS = (replace(f"{CONFIG}/variables.py", '"4j2b", 8, 3.5, 11.5', '"4j2b", 7, 3.5, 10.5'),)

N_JETS = 'Variable("n_jets", "n_jets", "4j2b", 8, 3.5, 11.5, "number of jets"),'
HT_FORMULA = 'return ak.sum(ak.values_astype(events.SelectedJet.pt, "float64"), axis=1)'
ST = (
    '\n\n\n@column_function(uses={"SelectedJet.pt", "lepton_pt"}, produces={"st"})\n'
    "def st(events: ak.Array) -> ak.Array:\n"
    "    return ht.function(events) + events.lepton_pt"
)
ME_VAR = '        Shift("ME_var", '

CONFIGURATION = (
    Edit(
        "cross section of one data set",
        (substitute(DEMO, r'("wjets": \{"cross_section": )15487.164', r"\g<1>15000"),),
        ("FillHistograms wjets", "MergeHistograms wjets", *FITTED),
    ),
    Edit(
        "luminosity",
        (replace(DEMO, '"luminosity": 3378.0', '"luminosity": 3000.0'),),
        ("FillHistograms →", "PlotCutflow", "PlotTraining"),
        remark="figures show it",
    ),
    Edit(
        "label of the campaign",
        (replace(DEMO, '"label": "toy events"', '"label": "generated"'),),
        ("PlotVariables", "PlotShifts", "PlotCutflow", "PlotTraining", "PlotFit", "PlotPulls", "Report"),
    ),
    Edit(
        "number of events of one data set",
        (substitute(DEMO, r'("wjets": \{.*"events": )45000', r"\g<1>30000"),),
        (
            "ReduceEvents wjets",
            "ProduceColumns wjets",
            "EvaluateModel wjets",
            "FillHistograms wjets",
            "MergeHistograms wjets",
            *FITTED,
            "PlotCutflow",
        ),
        remark="one file less: the others are as they were",
    ),
    Edit(
        "a data set removed",
        (substitute(DEMO, r'^    "single_top_s_chan": .*\n', ""),),
        (*FITTED, "PlotCutflow"),
    ),
    Edit(
        "binning of a control variable",
        FEWER_BINS,
        (*HISTOGRAMS, "PlotVariables n_jets", "Report"),
        remark="the fit stays current: each variable has a recipe of its own",
    ),
    Edit(
        "binning of a fitted variable",
        (replace(f"{CONFIG}/variables.py", '"4j1b", 25, 50, 550, "$H_T$"', '"4j1b", 50, 50, 550, "$H_T$"'),),
        (*HISTOGRAMS, "BuildModel →", "PlotVariables ht", "PlotShifts"),
    ),
    Edit(
        "axis label of a control variable",
        (replace(f"{CONFIG}/variables.py", "lepton $p_T$", "$p_T$ of the lepton"),),
        ("PlotVariables lepton_pt", "Report"),
    ),
    Edit(
        "axis label of a fitted variable",
        (replace(f"{CONFIG}/variables.py", '"$H_T$"', '"$S_T$"'),),
        ("PlotVariables ht", "PlotShifts", "PlotFit", "Report"),
    ),
    Edit(
        "colour of a process",
        (replace(f"{CONFIG}/processes.py", "#3f90da", "#3f90db"),),
        ("PlotVariables", "PlotCutflow", "PlotFit", "Report"),
    ),
    Edit(
        "label of a region",
        (replace(f"{CONFIG}/selection.py", "4$ jets, 1 b tag", "4$ jets, one b tag"),),
        ("PlotVariables", "PlotShifts", "PlotCutflow", "PlotFit", "TabulateYields", "Report"),
    ),
    Edit(
        "label of a shift",
        (replace(f"{CONFIG}/shifts.py", '"jet energy scale up"', '"JES up"'),),
        ("PlotShifts", "Report"),
    ),
    Edit(
        "a control variable added, of a column that there is",
        (
            replace(
                f"{CONFIG}/variables.py",
                N_JETS,
                f'{N_JETS}\n    Variable("ht_2b", "ht", "4j2b", 25, 50, 550, "$H_T$"),',
            ),
        ),
        ("Report",),
        ("FillHistograms", "MergeHistograms", "PlotVariables ht_2b"),
        remark="the fit stays current",
    ),
    Edit(
        "a control variable added, with a new column function",
        (
            replace(
                f"{CONFIG}/variables.py", N_JETS, f'{N_JETS}\n    Variable("st", "st", "4j2b", 25, 50, 550, "$S_T$"),'
            ),
            replace(f"{COLUMNAR}/observables.py", HT_FORMULA, HT_FORMULA + ST),
        ),
        OBSERVED,
        ("FillHistograms", "MergeHistograms", "PlotVariables st"),
        remark="reduced events stay, as they have all that it is made of",
    ),
    Edit(
        "a weight shift added",
        (
            replace(
                f"{CONFIG}/shifts.py",
                ME_VAR,
                f'        Shift("more", "weight", "more", ("wjets",), weight="weight_scale_var_up"),\n{ME_VAR}',
            ),
        ),
        ("FillHistograms wjets", "MergeHistograms wjets", *FITTED),
        remark="selection, columns and scores are those of the nominal",
    ),
    Edit(
        "a kinematic shift added",
        (
            replace(
                f"{CONFIG}/shifts.py",
                ME_VAR,
                f'        Shift("root", "kinematic", "", replaces=(("Jet.pt", "jet_pt_res_up_root"),)),\n{ME_VAR}',
            ),
        ),
        SHIFTED,
        ("ProduceColumns <nominal> root", "EvaluateModel <nominal> root"),
    ),
    Edit(
        "a nuisance parameter removed",
        (replace(f"{CONFIG}/model.py", '        Systematic("Luminosity", normalization=0.03),\n', ""),),
        ("BuildModel →", "PlotVariables", "PlotShifts"),
        remark="the band in the figures is made of the model's systematics",
    ),
    Edit(
        "bin edges of the fit",
        (replace(f"{CONFIG}/model.py", "range(110, 551, 40)", "range(110, 551, 80)"),),
        ("BuildModel →",),
    ),
)

MERGED = "store/v1/demo/MergeHistograms/wjets"

STORE = (
    Edit("checkout and store copied to other places"),
    Edit(
        "an output deleted",
        (remove(f"{MERGED}/ht.json"),),
        missing=("MergeHistograms wjets",),
        remark="what was made of it stays current",
    ),
    Edit("an output truncated", (truncate(f"{MERGED}/ht.json"),), missing=("MergeHistograms wjets",)),
    Edit("an output touched", (touch(f"{MERGED}/ht.json"),)),
    Edit("a manifest deleted", (remove(f"{MERGED}/manifests/task.*"),), missing=("MergeHistograms wjets",)),
    Edit("a manifest truncated", (truncate(f"{MERGED}/manifests/task.*"),), missing=("MergeHistograms wjets",)),
    Edit(
        "`--folds 4`",
        parameters={"folds": 4},
        missing=("TrainModel →",),
        remark="other parameters, other folders",
    ),
    Edit("`--version v2`", parameters={"version": "v2"}, missing=("GenerateEvents →",), remark="an empty place"),
)

CAMPAIGN = "files/small.yaml"
BRANCHES = ("IndexFiles", "SelectEvents", "ReduceEvents", "ProduceColumns")
REPLACED = (*(f"{name} wjets 1" for name in BRANCHES[:3]), "ProduceColumns wjets * * 1")
FILLED = ("FillHistograms wjets", "MergeHistograms wjets", "PlotVariables")

FILES = (
    Edit("a file touched", (touch("files/wjets_1.root"),)),
    Edit(
        "a file replaced",
        (write("files/wjets_1.root", "files/spare.root"),),
        (*REPLACED, *FILLED),
        remark="the number of all events normalises each of them: all histograms of the data set are filled again",
    ),
    Edit(
        "a file moved, and its path in the campaign's file with it",
        (
            write("files/zoo/wjets_2.root", "files/wjets_2.root"),
            remove("files/wjets_2.root"),
            replace(CAMPAIGN, "wjets_2.root", "zoo/wjets_2.root"),
        ),
        remark="if it stays in its place among the files, which are sorted by path",
    ),
    Edit(
        "a file added",
        (
            write("files/wjets_3.root", "files/spare.root"),
            replace(CAMPAIGN, "- wjets_2.root", "- wjets_2.root\n      - wjets_3.root"),
        ),
        FILLED,
        (*(f"{name} wjets 3" for name in BRANCHES[:3]), "ProduceColumns wjets * * 3", "FillHistograms wjets 3"),
        remark="if it comes last",
    ),
    Edit("a file removed that had been read", (remove("files/wjets_1.root"),), remark="known from its manifest"),
    Edit(
        "the campaign's file moved",
        (
            Change(
                "files/other/small.yaml",
                lambda _, project: project.path(CAMPAIGN).read_bytes().replace(b"- ", b"- ../"),
            ),
        ),
        parameters={"campaign": "files/other/small.yaml"},
    ),
)

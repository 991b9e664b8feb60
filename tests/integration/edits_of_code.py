"""Edits of the code and of the pinned packages, and what they make stale."""

from __future__ import annotations

from tests.integration.edits import (
    OBSERVED,
    SCORED,
    SHIFTED,
    WEIGHTED,
    Edit,
    append,
    pin,
    replace,
    substitute,
)

COLUMNAR, ML, STATS, PLOTTING = "analysis/columnar", "analysis/ml", "analysis/stats", "analysis/plotting"
TASKS, ENGINE = "analysis/tasks", "analysis/engine"

SELECT = f"{COLUMNAR}/select.py"
RENAMED_LOCAL = (
    replace(SELECT, "n_common = next((i for", "n_shared = next((i for"),
    replace(SELECT, "for step in SELECTION[:n_common]:", "for step in SELECTION[:n_shared]:"),
    replace(SELECT, "for s in SELECTION[n_common:])", "for s in SELECTION[n_shared:])"),
    replace(SELECT, "for step in SELECTION[n_common:]:", "for step in SELECTION[n_shared:]:"),
)
DATA_LAYOUT = (replace(f"{COLUMNAR}/weights.json", '"schema_version": 2,', '"schema_version":  2,'),)

NO_CHANGE = (
    Edit("a comment", (replace(SELECT, "    union = np.", "    # any shift\n    union = np."),)),
    Edit("a docstring", (replace(f"{COLUMNAR}/observables.py", "Scalar sum of the", "Sum of the"),)),
    Edit(
        "blank lines and layout",
        (replace(f"{COLUMNAR}/objects.py", "return (e.pt > 30) &", "\n\n    return (e.pt>30)&"),),
    ),
    Edit(
        "a type annotation",
        (replace(f"{COLUMNAR}/kinematics.py", "cartesian(p: Mapping[str, FloatArray])", "cartesian(p: dict)"),),
    ),
    Edit("an error in `columnar/errors.py`", (append(f"{COLUMNAR}/errors.py"),)),
    Edit("docstring of a `run()`", (replace(f"{TASKS}/select_events.py", '"""Select."""', '"""Select events."""'),)),
    Edit(
        "description of a parameter",
        (replace(f"{TASKS}/reduce_events.py", "largest number of chunks that", "number of chunks that"),),
    ),
    Edit(
        "a `requires()` written differently",
        (
            replace(
                f"{TASKS}/select_events.py",
                'return {**input_files(self), "index": IndexFiles.req_different_branching(self)}',
                "files = input_files(self)\n"
                '        return {**files, "index": IndexFiles.req_different_branching(self)}',
            ),
        ),
        remark="what is required is in the recipe, not how it is said",
    ),
    Edit(
        "a refactoring of the engine",
        (append(f"{ENGINE}/progress.py"), append(f"{ENGINE}/commit.py"), append("analysis/settings.py")),
        remark="one that changes what outputs mean raises `VERSION` in `analysis/engine/recipe.py`",
    ),
    Edit("a module that no task uses", (append(f"{STATS}/compare.py"),)),
    Edit("`law.cfg`", (replace("law.cfg", "analysis: INFO", "analysis: DEBUG"),)),
    Edit("`--yes`", parameters={"yes": True}, remark="a parameter that does not matter; so are `--workers` and others"),
)

CODE = (
    Edit(
        "local variable of `columnar/select.py` renamed",
        RENAMED_LOCAL,
        ("SelectEvents →",),
        remark="code counts by module; what follows is adopted, as the outputs are the same",
    ),
    Edit("function added to `columnar/select.py`", (append(SELECT),), ("SelectEvents →",), remark="likewise"),
    Edit(
        "cut in `columnar/objects.py`",
        (replace(f"{COLUMNAR}/objects.py", "(j.pt > 30)", "(j.pt > 25)"),),
        ("SelectEvents →",),
    ),
    Edit(
        "constant of `columnar/objects.py` that other modules import",
        (replace(f"{COLUMNAR}/objects.py", "B_TAG_THRESHOLD = 0.5", "B_TAG_THRESHOLD = 0.6"),),
        ("SelectEvents →",),
    ),
    Edit(
        "formula in `columnar/observables.py`",
        (replace(f"{COLUMNAR}/observables.py", "total[0] ** 2 + total[1] ** 2", "total[0] ** 2"),),
        OBSERVED,
        remark="selection, reduced events and weights stay; the classifier's training uses `trijet_jets` of the module",
    ),
    Edit(
        "number in `columnar/kinematics.py`",
        (replace(f"{COLUMNAR}/kinematics.py", "p[2] ** 2, 0)", "p[2] ** 2, 1)"),),
        OBSERVED,
        remark="two modules import it",
    ),
    Edit(
        "formula in `columnar/corrections.py`",
        (replace(f"{COLUMNAR}/corrections.py", '"float64") * 1.03', '"float64") * 1.02'),),
        SHIFTED,
        remark="`<varied>` data sets have no kinematic shifts: their events and columns stay",
    ),
    Edit(
        "`columnar/corrections.json`",
        (replace(f"{COLUMNAR}/corrections.json", '"version": 1,', '"version": 2,'),),
        SHIFTED,
        remark="files beside a module that bear its name belong to it, byte by byte",
    ),
    Edit(
        "formula in `columnar/weights.py`",
        (
            replace(
                f"{COLUMNAR}/weights.py",
                'ak.fill_none(ak.values_astype(pt, "float64"), 0.0)',
                'ak.fill_none(ak.values_astype(pt, "float64"), 1.0)',
            ),
        ),
        ("ProduceColumns * nominal weights", *WEIGHTED),
        remark="weights share selection, columns and scores with the nominal",
    ),
    Edit("`columnar/weights.json`", DATA_LAYOUT, ("ProduceColumns * nominal weights", *WEIGHTED)),
    Edit(
        "`columnar/histograms.py`",
        (append(f"{COLUMNAR}/histograms.py"),),
        ("FillHistograms →",),
    ),
    Edit(
        "hyperparameter in `ml/training.py`",
        (replace(f"{ML}/training.py", "max_depth: int = 4", "max_depth: int = 5"),),
        ("TrainModel", *SCORED),
        remark="the fitted variables are not made of scores: the fit stays current",
    ),
    Edit("`ml/folds.py`", (append(f"{ML}/folds.py"),), ("TrainModel", *SCORED)),
    Edit("`ml/evaluation.py`", (append(f"{ML}/evaluation.py"),), SCORED),
    Edit("`ml/diagnostics.py`", (append(f"{ML}/diagnostics.py"),), ("PlotTraining", "Report")),
    Edit("`stats/workspace.py`", (append(f"{STATS}/workspace.py"),), ("BuildModel →",)),
    Edit("`stats/fit.py`", (replace(f"{STATS}/fit.py", "_TOLERANCE = 0.01", "_TOLERANCE = 0.02"),), ("FitModel →",)),
    Edit(
        "`plotting/style.py`",
        (replace(f"{PLOTTING}/style.py", "_DPI = 100", "_DPI = 120"),),
        (
            "PlotVariables",
            "PlotShifts",
            "PlotCutflow",
            "PlotTraining",
            "PlotFit",
            "PlotPulls",
            "TabulateYields",
            "Report",
        ),
        remark="tables take names from modules that draw",
    ),
    Edit(
        "`plotting/stack.py`",
        (append(f"{PLOTTING}/stack.py"),),
        ("PlotVariables", "PlotShifts", "PlotFit", "PlotPulls", "TabulateYields", "Report"),
        remark="the modules of other figures import it",
    ),
    Edit("`plotting/training.py`", (append(f"{PLOTTING}/training.py"),), ("PlotTraining", "Report")),
    Edit("`plotting/tables.py`", (append(f"{PLOTTING}/tables.py"),), ("TabulateYields", "Report")),
    Edit(
        "`plotting/report.html.j2`", (replace(f"{PLOTTING}/report.html.j2", "font: 17px", "font: 18px"),), ("Report",)
    ),
    Edit(
        "`generator/jets.py`",
        (replace("analysis/generator/jets.py", "RADIUS = 0.4", "RADIUS = 0.5"),),
        ("GenerateEvents →",),
    ),
    Edit(
        "`SEED` in `tasks/generate_events.py`",
        (substitute(f"{TASKS}/generate_events.py", r"^SEED = \d+", "SEED = 17"),),
        ("GenerateEvents →",),
        remark="of task modules, what `run()` uses counts",
    ),
    Edit(
        "`run()` in `tasks/train_model.py`",
        (replace(f"{TASKS}/train_model.py", 'json.dumps(curve.to_json()) + "\\n"', "json.dumps(curve.to_json())"),),
        ("TrainModel", *SCORED),
    ),
    Edit(
        "`revision` of a task",
        (
            replace(
                f"{TASKS}/plot_cutflow.py",
                "    chunk_size = ReducedTask.chunk_size\n",
                "    chunk_size = ReducedTask.chunk_size\n    revision = 1\n",
            ),
        ),
        ("PlotCutflow", "Report"),
        remark="by hand, for what no recipe sees",
    ),
    Edit(
        "`VERSION` in `engine/recipe.py`",
        (substitute(f"{ENGINE}/recipe.py", r"^VERSION = \d+", "VERSION = 999"),),
        ("GenerateEvents →",),
    ),
)

PACKAGES = (
    Edit("aiohttp", pin("aiohttp"), remark="no stage needs it"),
    Edit("luigi, law", (*pin("luigi"), *pin("law")), ("Report",), remark="the report shows their versions"),
    Edit("numpy", pin("numpy"), ("GenerateEvents →",)),
    Edit("numpy in the set `stats` alone", pin("numpy", "stats"), ("BuildModel →",)),
    Edit("awkward", pin("awkward"), ("GenerateEvents →",)),
    Edit("correctionlib", pin("correctionlib"), ("SelectEvents →",)),
    Edit("rich", pin("rich"), ("SelectEvents →",), remark="correctionlib needs it"),
    Edit("xgboost-cpu", pin("xgboost-cpu"), ("TrainModel", *SCORED)),
    Edit("iminuit", pin("iminuit"), ("BuildModel →",), remark="cabinetry, which builds the model, needs it"),
    Edit(
        "matplotlib",
        pin("matplotlib"),
        ("BuildModel →", "PlotVariables", "PlotShifts", "PlotCutflow", "PlotTraining"),
        remark="cabinetry needs it",
    ),
    Edit("jinja2", pin("jinja2"), ("Report",)),
)

"""From templates and the statistical model to a pyhf workspace, by cabinetry."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.config.processes import process
from analysis.stats.binning import rebin
from analysis.stats.observation import ObservationKind, observe
from analysis.stats.session import quiet_numpy_backend
from analysis.stats.usable import DroppedSystematic, UsableModel, usable_model
from analysis.templates import PSEUDODATA, TemplateKey, Templates

if TYPE_CHECKING:
    from analysis.config.types import FitRegion, StatisticalModel, Systematic

log = logging.getLogger(__name__)

_OBSERVED = "observed"
"""Process name of the observation among the re-binned templates."""

_ROOT_FILE = "templates.root"


@dataclass(frozen=True)
class WorkspaceResult:
    """A statistical model with data, ready to be fitted.

    Args:
        workspace: specification in pyhf's JSON schema; write it with :func:`workspace_text`.
        observation: what the data in it are.
        dropped: systematics, or parts of them, that the templates do not support and the workspace does not have.
        config: the cabinetry configuration that it was built with.
    """

    workspace: dict[str, Any]
    observation: ObservationKind
    dropped: tuple[DroppedSystematic, ...]
    config: dict[str, Any]


def build_workspace(model: StatisticalModel, templates: Templates, work_dir: Path) -> WorkspaceResult:
    """Build a HistFactory model of the re-binned templates.

    The same templates give the same workspace, down to the bytes of :func:`workspace_text`.

    Args:
        model: the statistical model.
        templates: the templates, in the binnings of their variables.
        work_dir: local folder for the files that cabinetry works with; made if needed, may be removed afterwards.

    Returns:
        The workspace and how it came about.

    Raises:
        TemplateError: if there is no template of a region.
        TemplateYieldError: if a prediction is negative, not a number, or zero in total.
        BinningError: if the edges of a region do not fit its variable.
    """
    import cabinetry

    observation = observe(model, templates)
    usable = usable_model(model, templates)
    work_dir.mkdir(parents=True, exist_ok=True)
    config = _config(model, usable, work_dir)
    fitted = {
        TemplateKey(region.variable, key.process, key.shift): rebin(templates[key], region.edges)
        for region in model.regions
        for key in templates
        if key.variable == region.variable
    }
    for region in model.regions:
        observed = rebin(observation.histograms[region.variable], region.edges)
        fitted[TemplateKey(region.variable, _OBSERVED)] = observed
    write_templates_root(Templates(fitted), work_dir / _ROOT_FILE)
    with quiet_numpy_backend():
        cabinetry.configuration.validate(config)
        # cabinetry's postprocessing is left out: it smooths, which is not wanted, and replaces ill-defined statistical
        # uncertainties, which usable_model() has refused
        cabinetry.templates.collect(config)
        workspace = cabinetry.workspace.build(config)
    return WorkspaceResult(json.loads(workspace_text(workspace)), observation.kind, usable.dropped, config)


def workspace_text(workspace: dict[str, Any]) -> str:
    """A workspace as JSON text, in a form that depends on nothing but its content."""
    return json.dumps(workspace, sort_keys=True, indent=1) + "\n"


def write_templates_root(templates: Templates, path: Path) -> None:
    """Write templates as ROOT histograms with sums of squared weights, under- and overflow, in the AGC's naming.

    Args:
        templates: any templates.
        path: the ROOT file; overwritten.
    """
    import uproot

    with uproot.recreate(path) as file:
        for key in sorted(templates, key=lambda key: key.name):
            file[key.name] = templates[key]


def cabinetry_config(model: StatisticalModel, templates: Templates, folder: Path) -> dict[str, Any]:
    """Configuration of cabinetry for the part of a model that the templates support.

    What is left out is logged as warning; :func:`analysis.stats.usable.usable_model` lists it.

    Args:
        model: the statistical model.
        templates: the templates, in the binnings of their variables.
        folder: where ``templates.root`` lies, and cabinetry keeps its histograms.

    Returns:
        The configuration, valid in cabinetry's schema.

    Raises:
        TemplateError: if there is no template of a region.
        TemplateYieldError: if a prediction is negative, not a number, or zero in total.
    """
    return _config(model, usable_model(model, templates), folder)


def _config(model: StatisticalModel, usable: UsableModel, folder: Path) -> dict[str, Any]:
    for dropped in usable.dropped:
        log.warning("%s", dropped)
    return {
        "General": {
            "Measurement": model.measurement,
            "POI": model.parameter_of_interest,
            "HistogramFolder": str(folder / "histograms"),
            "InputPath": f"{folder / _ROOT_FILE}:{{RegionPath}}_{{SamplePath}}{{VariationPath}}",
            "VariationPath": "",
        },
        "Regions": [_region(region) for region in model.regions],
        "Samples": [
            {"Name": "Observation", "SamplePath": _OBSERVED, "Data": True},
            *(
                {"Name": process(name).sample, "SamplePath": name, "Regions": list(regions)}
                for name, regions in usable.processes.items()
            ),
        ],
        "Systematics": [_systematic(systematic, names) for systematic, names in usable.systematics],
        "NormFactors": [
            {
                "Name": model.parameter_of_interest,
                "Samples": process(model.signal).sample,
                "Nominal": 1.0,
                "Bounds": list(model.bounds),
            }
        ],
    }


def _region(region: FitRegion) -> dict[str, Any]:
    stem = TemplateKey(region.variable, PSEUDODATA).name.removesuffix(f"_{PSEUDODATA}")
    return {"Name": region.name, "RegionPath": stem, "Variable": region.variable, "Binning": list(region.edges)}


def _systematic(systematic: Systematic, processes: tuple[str, ...]) -> dict[str, Any]:
    common = {"Name": systematic.name, "Samples": [process(name).sample for name in processes]}
    if not systematic.up:
        size = systematic.normalization
        return {**common, "Type": "Normalization", "Up": {"Normalization": size}, "Down": {"Normalization": -size}}
    down = {"VariationPath": f"_{systematic.down}"} if systematic.down else {"Symmetrize": True}
    return {**common, "Type": "NormPlusShape", "Up": {"VariationPath": f"_{systematic.up}"}, "Down": down}

"""Yields of a statistical model before and after the fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError
from analysis.stats.session import quiet_numpy_backend

if TYPE_CHECKING:
    from analysis.config.types import StatisticalModel
    from analysis.stats.fit import FitResult


class PredictionError(AnalysisError):
    """A fit result or a statistical model does not belong to a workspace."""


@dataclass(frozen=True)
class Prediction:
    """Expected and observed events.

    Args:
        label: ``"pre-fit"`` or ``"post-fit"``.
        channels: names of the regions, in the order of the statistical model.
        samples: names of the samples.
        yields: expected events, ``yields[channel][sample][bin]``; samples that a channel does not have are missing.
        total_std: uncertainty of the sum of samples, ``total_std[channel][bin]``.
        channel_std: uncertainty of the sum over samples and bins, by channel.
        data: observed events, ``data[channel][bin]``.
        edges: bin edges, ``edges[channel]``, one more than bins.
    """

    label: str
    channels: tuple[str, ...]
    samples: tuple[str, ...]
    yields: dict[str, dict[str, tuple[float, ...]]]
    total_std: dict[str, tuple[float, ...]]
    channel_std: dict[str, float]
    data: dict[str, tuple[float, ...]]
    edges: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Prediction:
        """From :meth:`to_json`; the round trip is exact."""
        return cls(
            label=values["label"],
            channels=tuple(values["channels"]),
            samples=tuple(values["samples"]),
            yields={
                channel: {sample: tuple(bins) for sample, bins in samples.items()}
                for channel, samples in values["yields"].items()
            },
            total_std={channel: tuple(bins) for channel, bins in values["total_std"].items()},
            channel_std=dict(values["channel_std"]),
            data={channel: tuple(bins) for channel, bins in values["data"].items()},
            edges={channel: tuple(edges) for channel, edges in values["edges"].items()},
        )


def predict(workspace: dict[str, Any], model: StatisticalModel, fit: FitResult | None = None) -> Prediction:
    """Yields with their total uncertainty, by cabinetry.

    Before the fit the parameters vary independently within their constraints, and free ones not at all; after the fit
    they vary within their uncertainties and correlations.

    Args:
        workspace: specification in pyhf's JSON schema.
        model: the statistical model it was built from; gives bin edges and the order of the channels.
        fit: a fit of this workspace; ``None`` for the prediction before the fit.

    Returns:
        The prediction.

    Raises:
        PredictionError: if the fit has other parameters than the workspace, or the model other channels.
    """
    import cabinetry
    import numpy as np
    from cabinetry.fit.results_containers import FitResults

    with quiet_numpy_backend():
        pdf, data = cabinetry.model_utils.model_and_data(workspace, include_auxdata=False)
        _check(pdf.config, model, fit)
        fitted = None
        if fit is not None:
            fitted = FitResults(
                bestfit=np.array(fit.best_fit),
                uncertainty=np.array(fit.uncertainty),
                labels=list(fit.labels),
                corr_mat=np.array(fit.correlation),
                best_twice_nll=fit.twice_nll,
            )
        predicted = cabinetry.model_utils.prediction(pdf, fit_results=fitted)
    channels = tuple(region.name for region in model.regions)
    index = {channel: pdf.config.channels.index(channel) for channel in channels}
    present = {c["name"]: [sample["name"] for sample in c["samples"]] for c in workspace["channels"]}
    return Prediction(
        label=predicted.label,
        channels=channels,
        samples=tuple(pdf.config.samples),
        yields={
            channel: {
                sample: tuple(predicted.model_yields[i][j])
                for j, sample in enumerate(pdf.config.samples)
                if sample in present[channel]
            }
            for channel, i in index.items()
        },
        total_std={channel: tuple(predicted.total_stdev_model_bins[i][-1]) for channel, i in index.items()},
        channel_std={channel: predicted.total_stdev_model_channels[i][-1] for channel, i in index.items()},
        data={channel: tuple(data[pdf.config.channel_slices[channel]]) for channel in channels},
        edges={region.name: region.edges for region in model.regions},
    )


def _check(config: Any, model: StatisticalModel, fit: FitResult | None) -> None:
    bins = {region.name: len(region.edges) - 1 for region in model.regions}
    if dict(config.channel_nbins) != bins:
        msg = (
            f"the workspace has the channels {dict(config.channel_nbins)}, the statistical model {bins} "
            "(name: number of bins): build the workspace again"
        )
        raise PredictionError(msg)
    if fit is not None and list(fit.labels) != list(config.par_names):
        msg = "the fit has other parameters than the workspace: fit this workspace again"
        raise PredictionError(msg)

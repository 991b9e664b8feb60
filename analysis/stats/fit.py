"""Maximum-likelihood fit of a workspace."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from analysis.errors import AnalysisError
from analysis.stats.covariance import CovarianceError, covariance
from analysis.stats.session import quiet_numpy_backend

if TYPE_CHECKING:
    import numpy as np
    import pyhf
    from cabinetry.fit.results_containers import FitResults
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_TOLERANCE = 0.01
"""Ten times tighter than Minuit's default: brings the best-fit value within 0.2 % of an uncertainty of the minimum."""

ParameterKind = Literal["free", "constrained", "fixed"]
"""Without constraint term; with one (Gaussian or Poisson); held constant."""


class FitError(AnalysisError):
    """A workspace cannot be fitted."""


class Parameter(NamedTuple):
    """A parameter after the fit.

    Args:
        name: name; parameters with several components have their index in brackets.
        value: best-fit value.
        error: its uncertainty, from the second derivatives of the likelihood.
        kind: see :data:`ParameterKind`.
        nominal: value before the fit.
        prefit_error: width of the constraint; 0 without constraint.
    """

    name: str
    value: float
    error: float
    kind: ParameterKind
    nominal: float
    prefit_error: float

    @property
    def pull(self) -> float:
        """How far the fit moved the parameter, in units of its constraint; 0 without constraint."""
        return (self.value - self.nominal) / self.prefit_error if self.prefit_error else 0.0

    @property
    def constraint(self) -> float:
        """Uncertainty after the fit relative to the one before; 1 without constraint."""
        return self.error / self.prefit_error if self.prefit_error else 1.0


@dataclass(frozen=True)
class FitResult:
    """Result of a converged maximum-likelihood fit.

    Args:
        poi: name of the parameter of interest.
        parameters: all parameters, in the order of the model.
        correlation: correlation matrix, shape ``(parameters, parameters)``.
        twice_nll: twice the negative log-likelihood at its minimum.
        p_value: of the goodness of fit with respect to the saturated model; ``None`` without degrees of freedom.
        minos: lower (negative) and upper uncertainty of the parameter of interest from the profile likelihood (MINOS);
            ``None`` if not asked for.
    """

    poi: str
    parameters: tuple[Parameter, ...]
    correlation: tuple[tuple[float, ...], ...]
    twice_nll: float
    p_value: float | None
    minos: tuple[float, float] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def best_fit(self) -> tuple[float, ...]:
        """Best-fit values."""
        return tuple(parameter.value for parameter in self.parameters)

    @property
    def uncertainty(self) -> tuple[float, ...]:
        """Uncertainties."""
        return tuple(parameter.error for parameter in self.parameters)

    def parameter(self, name: str) -> Parameter:
        """Parameter of that name.

        Raises:
            FitError: if there is none.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        msg = f"the fit has no parameter {name!r}: there are {', '.join(self.labels)}"
        raise FitError(msg)

    @property
    def poi_value(self) -> float:
        """Best-fit value of the parameter of interest."""
        return self.parameter(self.poi).value

    @property
    def poi_error(self) -> float:
        """Uncertainty of the parameter of interest."""
        return self.parameter(self.poi).error

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a JSON file."""
        return {
            "poi": self.poi,
            "parameters": [parameter._asdict() for parameter in self.parameters],
            "correlation": [list(row) for row in self.correlation],
            "twice_nll": self.twice_nll,
            "p_value": self.p_value,
            "minos": list(self.minos) if self.minos else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FitResult:
        """From :meth:`to_json`; the round trip is exact."""
        minos = values["minos"]
        return cls(
            poi=values["poi"],
            parameters=tuple(Parameter(**parameter) for parameter in values["parameters"]),
            correlation=tuple(tuple(row) for row in values["correlation"]),
            twice_nll=values["twice_nll"],
            p_value=values["p_value"],
            minos=(minos[0], minos[1]) if minos else None,
        )


def fit_workspace(workspace: dict[str, Any], poi: str, *, minos: bool = False) -> FitResult:
    """Fit all parameters of a workspace to its data.

    The minimum is found by cabinetry (Minuit). The uncertainties are computed from second differences around it, see
    :mod:`analysis.stats.covariance`: those of Minuit depend on where and how the minimisation started, by 10 to 20 % in
    the AGC's model, and by a factor of two on Asimov data.

    Args:
        workspace: specification in pyhf's JSON schema, with one measurement.
        poi: name of the parameter of interest.
        minos: whether to find the asymmetric uncertainty of the parameter of interest, too.

    Returns:
        The result; the same workspace gives the same numbers, bit for bit.

    Raises:
        FitError: if the workspace has no such parameter, or the minimisation does not converge.
    """
    import cabinetry
    import numpy as np
    import pyhf

    with quiet_numpy_backend():
        pdf, data = cabinetry.model_utils.model_and_data(workspace)
        if poi not in pdf.config.par_names:
            msg = f"the workspace has no parameter {poi!r}: choose one of {', '.join(pdf.config.par_names)}"
            raise FitError(msg)
        try:
            # with the default strategy, the error matrix that pyhf asks for after the minimisation can raise the
            # estimated distance to the minimum above its goal, which counts as failure ("FailedMinimization:
            # Optimization terminated successfully."); strategy 2 computes second derivatives on the way
            fitted = cabinetry.fit.fit(
                pdf, data, minos=poi if minos else None, goodness_of_fit=True, strategy=2, tolerance=_TOLERANCE
            )
            matrix = _covariance(pdf, data, fitted.bestfit, fitted.uncertainty)
        except (pyhf.exceptions.FailedMinimization, ValueError, CovarianceError) as error:
            msg = (
                f"the fit of {poi} did not converge ({error}): look for empty or badly predicted bins in the yield "
                "table and for nuisance parameters without effect, then merge bins or leave parameters out"
            )
            raise FitError(msg) from error
        kinds, nominal, widths = _before_fit(pdf)
    errors = np.sqrt(np.diag(matrix))
    scale = np.where(errors > 0, errors, 1.0)
    rows = zip(fitted.labels, fitted.bestfit.tolist(), errors.tolist(), kinds, nominal, widths, strict=True)
    p_value = float(fitted.goodness_of_fit)
    return FitResult(
        poi=poi,
        parameters=tuple(Parameter(*row) for row in rows),
        correlation=tuple(tuple(row) for row in (matrix / np.outer(scale, scale)).tolist()),
        twice_nll=float(fitted.best_twice_nll),
        p_value=p_value if np.isfinite(p_value) else None,
        minos=_minos(fitted, poi) if minos else None,
    )


def _covariance(
    pdf: pyhf.pdf.Model, data: Sequence[float], best_fit: NDArray[np.float64], errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariance matrix; rows and columns of parameters that are held constant are zero."""
    import numpy as np

    free = np.flatnonzero(~np.asarray(pdf.config.suggested_fixed()))

    def twice_nll(values: NDArray[np.float64]) -> float:
        parameters = best_fit.copy()
        parameters[free] = values
        return -2 * float(pdf.logpdf(parameters, data)[0])

    matrix = np.zeros((best_fit.size, best_fit.size))
    matrix[np.ix_(free, free)] = covariance(twice_nll, best_fit[free], errors[free])
    return matrix


def _minos(fitted: FitResults, poi: str) -> tuple[float, float] | None:
    lower, upper = (float(side) for side in fitted.minos_uncertainty[poi])
    hesse = float(fitted.uncertainty[fitted.labels.index(poi)])
    if hesse in (-lower, upper):  # what Minuit gives in place of a side that it did not find
        log.warning("MINOS found no interval for %s: scan its likelihood instead", poi)
        return None
    return lower, upper


def _before_fit(pdf: pyhf.pdf.Model) -> tuple[list[ParameterKind], list[float], list[float]]:
    """Kind, value and uncertainty of each parameter before the fit."""
    import cabinetry

    kinds: list[ParameterKind] = []
    for name in pdf.config.par_order:
        parameters = pdf.config.param_set(name)
        kind: ParameterKind = "constrained" if parameters.constrained else "free"
        kinds += ["fixed" if fixed else kind for fixed in parameters.suggested_fixed]
    nominal: NDArray[np.float64] = cabinetry.model_utils.asimov_parameters(pdf)
    widths: NDArray[np.float64] = cabinetry.model_utils.prefit_uncertainties(pdf)
    return kinds, nominal.tolist(), widths.tolist()


def result_line(result: FitResult) -> str:
    """The measurement in one line.

    >>> result_line(FitResult("mu", (Parameter("mu", 0.96, 0.1041, "free", 1.0, 0.0),), ((1.0,),), 0.0, None))
    'mu = 0.960 +- 0.104'
    """
    return f"{result.poi} = {result.poi_value:.3f} +- {result.poi_error:.3f}"

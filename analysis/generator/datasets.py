"""The nine generated datasets: what their events look like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnknownDatasetError(KeyError):
    """A dataset name that the generator does not know."""

    def __str__(self) -> str:
        # a KeyError would show its message in quotes
        return str(self.args[0])


@dataclass(frozen=True)
class Settings:
    """What distinguishes the simulation of one dataset from that of another.

    Attributes:
        process: hard process, one of ``ttbar``, ``s_channel``, ``t_channel``, ``tW``, ``wjets``.
        hardness: mean transverse momentum of the hard process's heavy particles [GeV].
        radiation_mean: mean number of initial-state partons above ``radiation_pt``.
        radiation_pt: smallest transverse momentum of an initial-state parton [GeV].
        radiation_slope: power a of their falling spectrum, dN/dpT ~ pT^-(a+1).
        radiation_width: standard deviation of their pseudorapidity.
        splitting: probability that a quark radiates a gluon that makes a jet of its own.
        jet_scale: average jet response.
        b_tag_power: exponent on the quantile of the discriminator of b and c jets; above 1 lowers the efficiency.
        mistag_power: the same for other jets.
        out_of_cone: average share of a jet's energy outside of its cone.
        heavy_fraction: scales the share of c and b quarks among initial-state partons.
        negative_fraction: share of events with generator weight -1.
        radiation_min: number of initial-state partons that every event has.
        min_partons: the filter requires as many partons above ``parton_pt`` within abs(eta) < 2.6.
        parton_pt: smallest transverse momentum of such a parton [GeV].
        spectator: whether a soft b quark accompanies the hard process, from a gluon that became a b quark pair.
    """

    process: str
    hardness: float
    radiation_mean: float
    radiation_pt: float = 18.0
    radiation_slope: float = 1.25
    radiation_width: float = 1.9
    splitting: float = 0.2
    jet_scale: float = 1.0
    b_tag_power: float = 1.28
    mistag_power: float = 1.1
    out_of_cone: float = 0.01
    heavy_fraction: float = 1.0
    negative_fraction: float = 0.0
    radiation_min: int = 0
    min_partons: int = 4
    parton_pt: float = 23.0
    spectator: bool = False


_TTBAR = Settings(process="ttbar", hardness=120.0, radiation_mean=1.6)

DATASETS: Mapping[str, Settings] = MappingProxyType(
    {
        "ttbar": _TTBAR,
        "ttbar_scaleup": replace(_TTBAR, jet_scale=1.008, b_tag_power=1.24),
        "ttbar_scaledown": replace(_TTBAR, jet_scale=0.99, b_tag_power=1.32),
        "ttbar_ME_var": replace(
            _TTBAR, radiation_mean=2.3, radiation_slope=1.15, b_tag_power=1.36, negative_fraction=0.1
        ),
        "ttbar_PS_var": replace(_TTBAR, jet_scale=0.967, b_tag_power=1.42, radiation_mean=1.5),
        "single_top_s_chan": Settings(
            process="s_channel", hardness=85.0, radiation_mean=0.9, radiation_min=2, radiation_width=1.4
        ),
        "single_top_t_chan": Settings(
            process="t_channel", hardness=80.0, radiation_slope=1.4, radiation_mean=0.9, radiation_min=1, spectator=True
        ),
        "single_top_tW": Settings(process="tW", hardness=90.0, radiation_mean=1.2, radiation_min=1, spectator=True),
        "wjets": Settings(
            process="wjets",
            hardness=0.0,
            radiation_mean=0.8,
            radiation_min=4,
            radiation_slope=1.25,
            radiation_width=1.25,
            radiation_pt=22.0,
            parton_pt=26.0,
        ),
    }
)


def find_dataset(name: str) -> Settings:
    """Looks up a dataset.

    Args:
        name: name of the dataset, e.g. ``"ttbar_PS_var"``.

    Returns:
        The settings of its simulation, from :data:`DATASETS`.

    Raises:
        UnknownDatasetError: if there is no such dataset.
    """
    try:
        return DATASETS[name]
    except KeyError:
        msg = f"The generator has no dataset {name!r}; choose one of {', '.join(DATASETS)}."
        raise UnknownDatasetError(msg) from None

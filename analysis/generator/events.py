"""Generation of events: from a dataset's name and a seed to the columns of a NanoAOD file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .datasets import find_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

BLOCK_SIZE = 10_000
"""Events made in one go, so that the working set stays in the processor's cache."""

EVENTS_PER_LUMINOSITY_BLOCK = 1000


@dataclass(frozen=True)
class GeneratedEvents:
    """Columns of generated events.

    Attributes:
        flat: one value per event, by branch name, each of shape ``(n_events,)``.
        counts: number of objects per event, by collection (``"Jet"``), each of shape ``(n_events,)``.
        content: the objects of all events one after the other, by branch name (``"Jet_pt"``); all branches of a
            collection are as long as its counts add up to.
    """

    flat: Mapping[str, NDArray[Any]]
    counts: Mapping[str, NDArray[np.int64]]
    content: Mapping[str, NDArray[Any]]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.flat["event"])

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of all branches of the file, the counters ``n<collection>`` included."""
        return (*self.flat, *(f"n{name}" for name in self.counts), *self.content)


def generate_events(dataset: str, n_events: int, *, seed: int, first_event: int = 0) -> GeneratedEvents:
    """Generates events of one dataset.

    The result depends on nothing but the arguments: each combination of dataset, seed and first event has its own
    stream of random numbers.

    Args:
        dataset: name of the dataset, one of :data:`DATASETS`.
        n_events: number of events, at least 1.
        seed: seed of the campaign.
        first_event: number of events before the first one, so that files of one dataset do not overlap.

    Returns:
        The columns of ``n_events`` events.

    Raises:
        UnknownDatasetError: if there is no such dataset.
        ValueError: if the number of events is not positive or the first event is negative.
    """
    from .simulation import join_blocks, simulate_block

    settings = find_dataset(dataset)
    if n_events < 1 or first_event < 0:
        msg = (
            f"Cannot generate {n_events} events of {dataset!r} from event {first_event} on: "
            "ask for at least one event and start at 0 or later."
        )
        raise ValueError(msg)
    blocks = [
        simulate_block(settings, min(BLOCK_SIZE, n_events - start), random_stream(dataset, seed, first_event, start))
        for start in range(0, n_events, BLOCK_SIZE)
    ]
    return join_blocks(blocks, first_event)


def random_stream(dataset: str, seed: int, first_event: int, block: int = 0) -> np.random.Generator:
    """The source of randomness of one block of events.

    Args:
        dataset: name of the dataset.
        seed: seed of the campaign.
        first_event: first event of the file.
        block: first event of the block within the file.

    Returns:
        A generator, independent of those of all other arguments.
    """
    import numpy as np

    digest = hashlib.blake2b(f"{dataset}/{seed}/{first_event}/{block}".encode(), digest_size=32).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))

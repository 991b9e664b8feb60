"""Writing generated events as NanoAOD: a ROOT file with the tree ``Events``."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from .events import generate_events

if TYPE_CHECKING:
    from pathlib import Path

    import awkward as ak

    from .events import GeneratedEvents

CLUSTER_SIZE = 50_000
"""Events per cluster of the tree."""


def write_nanoaod(path: Path, dataset: str, n_events: int, *, seed: int, first_event: int = 0) -> None:
    """Generates events and writes them to a file: the same content under the same UUID for the same arguments.

    The bytes differ by the time of writing alone, which a ROOT file notes.

    Args:
        path: file to write; an existing one is replaced.
        dataset: name of the dataset, one of :data:`DATASETS`.
        n_events: number of events, at least 1.
        seed: seed of the campaign.
        first_event: number of events before the first one, so that files of one dataset do not overlap.

    Raises:
        UnknownDatasetError: if there is no such dataset.
        ValueError: if the number of events is not positive or the first event is negative.
    """
    import uproot

    events = generate_events(dataset, n_events, seed=seed, first_event=first_event)
    identity = content_uuid(events, f"{dataset}/{seed}/{first_event}")
    arrays = as_arrays(events)
    options = {"compression": uproot.ZSTD(1), "uuid_function": lambda: identity}
    # a path would leave its name in the file, and so in its size
    with path.open("w+b") as opened, uproot.recreate(opened, **options) as file:
        tree = file.mktree(
            "Events",
            {name: array.type.content for name, array in arrays.items()},
            counter_name=lambda collection: f"n{collection}",
            field_name=lambda collection, field: f"{collection}_{field}" if collection else field,
        )
        for start in range(0, n_events, CLUSTER_SIZE):
            # a rest of less than one cluster goes with the last one
            if start and n_events - start < CLUSTER_SIZE:
                break
            stop = start + CLUSTER_SIZE if n_events - start >= 2 * CLUSTER_SIZE else n_events
            tree.extend({name: array[start:stop] for name, array in arrays.items()})


def content_uuid(events: GeneratedEvents, origin: str) -> UUID:
    """Identifier that stands for the content of a file: whoever knows it knows the events.

    Args:
        events: generated events.
        origin: what they were generated from.
    """
    digest = sha256(origin.encode())
    for group in (events.flat, events.counts, events.content):
        for name, values in group.items():
            digest.update(f"{name}/{values.dtype.str}/{len(values)}".encode())
            digest.update(values.tobytes())
    return UUID(bytes=digest.digest()[:16], version=5)


def as_arrays(events: GeneratedEvents) -> dict[str, ak.Array]:
    """Generated events as awkward arrays.

    Args:
        events: generated events.

    Returns:
        One array per event-wise branch and one array of lists of records per collection.
    """
    import awkward as ak

    arrays = {name: ak.Array(values) for name, values in events.flat.items()}
    for collection, counts in events.counts.items():
        prefix = f"{collection}_"
        fields = {name.removeprefix(prefix): values for name, values in events.content.items()
                  if name.startswith(prefix)}  # fmt: skip
        arrays[collection] = ak.unflatten(ak.zip(fields), counts)
    return arrays

"""How often a server is asked for the state of a workflow with a thousand branches, as its log has it."""

from __future__ import annotations

import pytest

from tests.integration.storage_fixtures import Place, new_place, place, scheme, side, storage
from tests.integration.storage_sides import Side, answers

__all__ = ["new_place", "place", "scheme", "side", "storage"]

pytestmark = pytest.mark.integration

N = 1000


@answers(plain=(N, 2 * N), ours=(1, 5))
def test_state_of_a_workflow(
    side: Side, answer: tuple[int, int], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defect 12: law asks once per branch, one after the other."""
    with side.client(place.base) as client:
        for first in range(0, N, 100):
            done = client.ask("run", N, first, first + 100)
            assert done.error is None, done
    with side.client(place.base) as client, place.counted() as requests:
        assert client.ask("state", N).outcome == N
    with capsys.disabled():
        print(
            f"\nstate of {N} branches by {place.scheme}://, {side.name}: {requests.total()} requests {dict(requests)}"
        )
    least, most = answer
    assert least <= requests.total() <= most


@answers(plain=(100, 200), ours=(1, 2))
def test_list_the_files_of_a_folder(side: Side, answer: tuple[int, int], place: Place) -> None:
    """Defect 12: to tell files from folders, law asks for each name."""
    for i in range(100):
        place.write(f"some/{i}.txt", "content")
    with side.client(place.base) as client, place.counted() as requests:
        assert len(client.ask("list_files", "some").value) == 100
    least, most = answer
    assert least <= requests.total() <= most, requests

"""The store can be taken elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chain import Law

pytestmark = pytest.mark.integration


def test_chain_goes_on_in_a_store_that_was_moved(law: Law) -> None:
    choice = ("--dataset", "single_top_s_chan", "--files-per-dataset", "1")
    law.succeed("SelectEvents", *choice)
    moved = replace(law, store=law.store.with_name("moved"))
    law.store.rename(moved.store)
    finished = moved.succeed("ReduceEvents", *choice)
    assert finished.stderr.splitlines() == [line for line in finished.stderr.splitlines() if "ReduceEvents" in line]
    assert not law.store.exists()

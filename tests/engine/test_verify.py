from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.errors import OutputError
from analysis.engine.verify import Expectation, VerificationError, verify
from tests.engine.output_files import PAGE, PDF, PNG, TABLE, npy_bytes, npz_bytes, parquet_bytes, root_bytes, staged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One good file of each kind that has an end."""
    return {
        "cutflow_1.json": b'{"steps": [1, 2.5, null]}',
        "events_0.parquet": parquet_bytes(),
        "ttbar_0.root": root_bytes(tmp_path_factory.mktemp("root")),
        "ht.pdf": PDF,
        "ht.png": PNG,
        "report.html": PAGE,
        "yields.html": TABLE,
        "scores.npz": npz_bytes(),
        "scores.npy": npy_bytes(),
    }


KINDS = [
    "cutflow_1.json",
    "events_0.parquet",
    "ttbar_0.root",
    "ht.pdf",
    "ht.png",
    "report.html",
    "yields.html",
    "scores.npz",
    "scores.npy",
]
TEXTS = ["yields.txt", "yields.tex", "notes.md", "table.csv", "submission.yaml"]


@pytest.mark.parametrize("name", KINDS)
def test_good_file(tmp_path: Path, whole: dict[str, bytes], name: str) -> None:
    verify(staged(tmp_path, name, whole[name]), name)


@pytest.mark.parametrize("name", TEXTS)
def test_good_text(tmp_path: Path, name: str) -> None:
    verify(staged(tmp_path, name, "t\N{LATIN SMALL LETTER T WITH CARON} ± 1\n".encode()), name)


def test_suffix_of_the_final_name_in_any_case_tells_the_kind(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"^A\.JSON is not valid JSON"):
        verify(staged(tmp_path, "A.JSON", b"{"), "A.JSON")


def test_unknown_kind_has_to_hold_something(tmp_path: Path) -> None:
    verify(staged(tmp_path, "model.ubj", b"\xff\x00"), "model.ubj")
    with pytest.raises(VerificationError, match=r"^model\.ubj has zero bytes$"):
        verify(staged(tmp_path, "model.ubj", b""), "model.ubj")


@pytest.mark.parametrize("name", [*KINDS, *TEXTS, "model.ubj"])
def test_absent_empty_or_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationError, match=f"^{name} was not written$"):
        verify(tmp_path / f".{name}.part", name)
    with pytest.raises(VerificationError, match=f"^{name} has zero bytes$"):
        verify(staged(tmp_path, name, b""), name)
    with pytest.raises(VerificationError, match=f"^{name} is not a file$"):
        verify(tmp_path, name)


@pytest.mark.parametrize("name", KINDS)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_file(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, bytes], name: str, fraction: float
) -> None:
    content = whole[name].rstrip() if name.endswith((".pdf", ".html", ".json")) else whole[name]
    path = staged(tmp_path_factory.getbasetemp(), name, content[: int(fraction * len(content))])
    with pytest.raises(VerificationError) as caught:
        verify(path, name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [name for name in KINDS if not name.endswith(".json")])
def test_another_kind_under_this_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationError, match=name):
        verify(staged(tmp_path, name, b'{"this is": "JSON"}'), name)


def test_errors_are_those_of_outputs_in_one_line_without_the_temporary_path(tmp_path: Path) -> None:
    path = staged(tmp_path, "a.root", b"no ROOT file, but long enough for a header " * 20)
    with pytest.raises(OutputError) as caught:
        verify(path, "a.root")
    assert str(caught.value).startswith("a.root cannot be read: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 250
    assert str(path) not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_not_utf8(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationError, match=f"^{name} is not UTF-8: byte 0xb1 at position 2$"):
        verify(staged(tmp_path, name, "1 ±".encode("latin-1")), name)


# --- JSON ---


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1', r"a\.json is not valid JSON: Expecting ',' delimiter"),
        (b"{} {}", r"a\.json is not valid JSON: Extra data"),
        (b"\xef\xbb\xbf{}", r"a\.json is not valid JSON: Unexpected UTF-8 BOM"),
        (b'"\xff"', r"a\.json is not UTF-8: byte 0xff at position 1"),
        ("{}".encode("utf-16-le"), r"a\.json is not valid JSON"),
        (b"[" * 200_000 + b"]" * 200_000, r"a\.json is not valid JSON: .*recursion"),
    ],
)
def test_json_that_is_none(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(VerificationError, match=f"^{problem}"):
        verify(staged(tmp_path, "a.json", content), "a.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"fit": [{"error": NaN}, 1e999], "x": 1}', r"2 values that are not finite, the first at \.fit\[0\]\.error"),
        ('{"fit": [0.5, -Infinity]}', r"1 value that is not finite, the first at \.fit\[1\]"),
        ("NaN", "1 value that is not finite, the first at its root"),
    ],
)
def test_json_with_a_number_that_is_not_finite(tmp_path: Path, content: str, problem: str) -> None:
    path = staged(tmp_path, "fit.json", content.encode())
    verify(path, "fit.json")
    with pytest.raises(VerificationError, match=rf"^fit\.json has {problem}$"):
        verify(path, "fit.json", Expectation(finite=("*",)))


NUMBERS = st.one_of(st.floats(), st.integers(), st.none(), st.booleans(), st.text())
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(content=VALUES)
def test_json_is_finite_exactly_if_python_can_write_it_so(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = staged(tmp_path_factory.getbasetemp(), "any.json", json.dumps(content).encode())
    try:
        json.dumps(content, allow_nan=False)
    except ValueError:
        with pytest.raises(VerificationError, match="not finite"):
            verify(path, "any.json", Expectation(finite=("*",)))
    else:
        verify(path, "any.json", Expectation(finite=("*",)))


# --- ROOT ---


@pytest.mark.parametrize("folder", ["plain", "with:colon.root:Events"])
def test_root_as_expected(tmp_path: Path, whole: dict[str, bytes], folder: str) -> None:
    (tmp_path / folder).mkdir()
    path = staged(tmp_path / folder, "ttbar_0.root", whole["ttbar_0.root"])
    verify(path, "ttbar_0.root", Expectation(3, columns=("run", "Jet_pt")))


@pytest.mark.parametrize(
    ("expectation", "problem"),
    [
        (Expectation(4), "ttbar_0.root has 3 entries in Events, 4 were expected"),
        (Expectation(3, ("run", "MET_pt")), "Events of ttbar_0.root has no branch MET_pt"),
        (Expectation(tree="Runs"), "ttbar_0.root holds no Runs, but Events, cutflow"),
        (Expectation(3, tree="cutflow"), "cutflow of ttbar_0.root is not a tree"),
    ],
)
def test_root_not_as_expected(tmp_path: Path, whole: dict[str, bytes], expectation: Expectation, problem: str) -> None:
    path = staged(tmp_path, "ttbar_0.root", whole["ttbar_0.root"])
    with pytest.raises(VerificationError) as caught:
        verify(path, "ttbar_0.root", expectation)
    assert str(caught.value) == problem


def test_root_without_content(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root"):
        pass
    with pytest.raises(VerificationError, match=r"^a\.root holds nothing$"):
        verify(tmp_path / "a.root", "a.root")


def test_rntuple(test_data: Path) -> None:
    path = test_data / "nanoaod" / "ttbar_rntuple_10.root"
    verify(path, path.name, Expectation(10, columns=("run", "Jet_pt")))
    with pytest.raises(VerificationError, match="has 10 entries in Events, 11 were expected"):
        verify(path, path.name, Expectation(11))


# --- figures, pages, arrays ---


def test_what_ends_are_compared_with(tmp_path: Path) -> None:
    for name, content, problem in (
        ("a.pdf", b"%PDF-1.4\n" + bytes(5000), r"a\.pdf is truncated: it does not end with %%EOF"),
        ("a.pdf", b"%!PS\n%%EOF", r"a\.pdf is not a PDF"),
        ("a.png", PNG[:-1], r"a\.png is truncated"),
        ("a.png", b"GIF89a" + PNG, r"a\.png is not a PNG"),
        ("a.html", b"  \n ", r"a\.html is truncated: it does not end with </html>"),
        ("a.html", b"<!doctype html><html><body></body>", r"a\.html is truncated: it does not end with </html>"),
        ("a.html", b"<table><tr></tr>", r"a\.html is truncated: it does not end with </html> or </table>"),
        ("a.npy", b"PK\x03\x04", r"a\.npy is not an array of numpy"),
    ):
        with pytest.raises(VerificationError, match=f"^{problem}"):
            verify(staged(tmp_path, name, content), name)


def test_archive_without_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w"):
        pass
    with pytest.raises(VerificationError, match=r"^a\.npz holds nothing$"):
        verify(tmp_path / "a", "a.npz")


# --- what cannot be checked ---


@pytest.mark.parametrize(
    ("name", "expectation", "what"),
    [
        ("a.txt", Expectation(entries=1), "entries"),
        ("a.json", Expectation(entries=1, columns=("a",)), "columns, entries"),
        ("a.json", Expectation(finite=("a",)), "finite"),
        ("a.parquet", Expectation(finite=("*",)), "finite everywhere"),
        ("a.parquet", Expectation(tree="Runs"), "tree"),
        ("a.root", Expectation(finite=("Jet_pt",)), "finite"),
        ("a.ubj", Expectation(entries=0), "entries"),
        ("a.png", Expectation(columns=("a",)), "columns"),
    ],
)
def test_expectation_that_cannot_be_checked_is_a_bug(
    tmp_path: Path, name: str, expectation: Expectation, what: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name} cannot be checked for this: {what};"):
        verify(tmp_path / "absent", name, expectation)


def test_readers_are_imported_only_where_they_are_needed(tmp_path: Path) -> None:
    path = staged(tmp_path, "a.json", b"{}")
    code = (
        "import sys; from pathlib import Path; from analysis.engine.verify import verify; "
        f"verify(Path({str(path)!r}), 'a.json'); print(*sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "analysis.engine.verify" in loaded
    assert not {"numpy", "pyarrow", "uproot", "awkward", "zipfile"} & set(loaded)

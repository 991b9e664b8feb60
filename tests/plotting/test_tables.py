from __future__ import annotations

from html.parser import HTMLParser

import pytest

from analysis.columnar.cutflow import Cutflow, CutflowStep
from analysis.plotting.tables import (
    Label,
    Measured,
    Table,
    TableFormat,
    cutflow_table,
    tabulate_cutflow,
    tabulate_predictions,
    tabulate_yields,
    write_table,
)
from analysis.stats.prediction import Prediction
from analysis.templates import PSEUDODATA, TemplateError, TemplateKey, Templates


class Cells(HTMLParser):
    """Text of the cells of an HTML table."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(name == "style" for name, _ in attrs)
        self.tags.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.tags[-1] in {"td", "th"}:
            self.cells[-1] = (self.cells[-1] + data).strip()


def cell(measured: Measured, table_format: TableFormat) -> str:
    table = write_table(Table("", ("a", "b"), (("x", measured),)), table_format)
    if table_format == "html":
        parser = Cells()
        parser.feed(table)
        return parser.cells[-1]
    last = [line for line in table.splitlines() if " x " in f" {line} "][-1]
    return last.split("&")[-1].strip(" \\") if table_format == "tex" else last[1:].strip()


@pytest.mark.parametrize(
    ("measured", "txt", "tex", "html"),
    [
        # the three leading digits of the uncertainty decide: 100 to 354 keep two, 355 to 949 one, above 950 is 1000
        (Measured(1234.567, 12.3, 12.3), "1235 +- 12", r"$1235 \pm12$", "1235 ± 12"),
        (Measured(1234.567, 0.827, 0.827), "1234.6 +- 0.8", r"$1234.6 \pm0.8$", "1234.6 ± 0.8"),
        (Measured(1234.567, 96.2, 96.2), "1230 +- 100", r"$1230 \pm100$", "1230 ± 100"),
        (Measured(1234.567, 367.0, 367.0), "1200 +- 400", r"$1200 \pm400$", "1200 ± 400"),
        (Measured(10.0, 2.04, 1.04), "10.0 +2.0-1.0", r"$10.0 \,^{+2.0}_{-1.0}$", "10.0 +2.0 \N{MINUS SIGN}1.0"),
        (Measured(10.0, 2.0, 0.0), "10.0 +- 2.0", r"$10.0 \pm2.0$", "10.0 ± 2.0"),
        (Measured(3.25, 0.0, 0.0), "3.25", "3.25", "3.25"),
    ],
)
def test_rounding(measured: Measured, txt: str, tex: str, html: str) -> None:
    assert cell(measured, "txt") == txt
    assert cell(measured, "tex") == tex
    assert cell(measured, "html") == html


def test_plain_text_has_a_caption() -> None:
    table = Table("What it is.", ("process", "events"), (("ttbar", "12"),))
    assert write_table(table, "txt") == "What it is.\n\nprocess      events\n---------  --------\nttbar            12\n"
    assert "What it is." not in write_table(table, "tex")


def test_text_is_escaped() -> None:
    table = Table("", ("a_b", "50 %"), (("<script>", Label("t & t", r"$t\bar{t}$")),))
    assert "<script>" not in write_table(table, "html")
    assert "&lt;script&gt;" in write_table(table, "html")
    tex = write_table(table, "tex")
    assert r"a\_b" in tex
    assert r"50 \%" in tex
    assert r"$t\bar{t}$" in tex


def test_yields(templates: Templates) -> None:
    # per process and in total: MC statistics, then energy scale, b tag and luminosity added in quadrature
    # ttbar: 300 with variance 13; scale 0; b tag +7 and 0; luminosity 9: up sqrt(13+49+81) = 11.96, down sqrt(94) = 9.7
    # W+jets: 30 with variance 2; scale +-1; luminosity 0.9: sqrt(2 + 1 + 0.81) = 1.95
    # total: 330 with variance 15; scale +-1; b tag +7; luminosity 9.9: up sqrt(163.01) = 12.8, down sqrt(114.01) = 10.7
    observation = {"ht": templates[TemplateKey("ht", PSEUDODATA)]}
    table = tabulate_yields(templates, observation, "Pseudo-data")
    assert table.header == ("process", Label("4j1b", r"$\geq 4$ jets, 1 b tag"))
    first, second, total, observed = table.rows
    assert [row[0] for row in table.rows[1:]] == [Label("W+jets", "$W$+jets"), "total expected", "Pseudo-data"]
    assert first[0] == Label("ttbar", r"$t\bar{t}$")
    assert first[1] == pytest.approx((300, 143**0.5, 94**0.5))
    assert second[1] == pytest.approx((30, 3.81**0.5, 3.81**0.5))
    assert total[1] == pytest.approx((330, 163.01**0.5, 114.01**0.5))
    assert observed[1] == "319"
    assert table.caption == "Events per region with statistical and systematic uncertainties."
    assert isinstance(first[1], Measured)
    assert cell(first[1], "txt") == "300 +12-10"


def test_yields_count_flow_bins(templates: Templates) -> None:
    nominal = Templates({k: h.copy() for k, h in templates.items() if k == TemplateKey("ht", "ttbar")})
    nominal[TemplateKey("ht", "ttbar")].view(flow=True)[-1] = (50.0, 3.0)
    table = tabulate_yields(nominal)
    assert table.rows[0][1] == pytest.approx((350, 4, 4))
    assert table.caption == "Events per region with statistical uncertainties."
    assert [row[0] for row in table.rows][1:] == ["total expected"]


def test_yields_of_nothing() -> None:
    with pytest.raises(TemplateError, match="no templates to tabulate"):
        tabulate_yields(Templates({}))


def test_predictions() -> None:
    before = Prediction(
        label="pre-fit",
        channels=("4j1b CR",),
        samples=("W+jets", "ttbar", "tW"),
        yields={"4j1b CR": {"ttbar": (90.0, 45.06), "W+jets": (10.0, 5.0)}},
        total_std={"4j1b CR": (10.0, 4.0)},
        channel_std={"4j1b CR": 12.3},
        data={"4j1b CR": (110.0, 40.0)},
        edges={"4j1b CR": (110.0, 150.0, 190.0)},
    )
    table = tabulate_predictions([before], "Pseudo-data")
    assert table.header == ("process", "4j1b CR, pre-fit")
    assert [row[1] for row in (*table.rows[:3], table.rows[4])] == ["135.1", "15.0", "0", "150"]
    assert table.rows[3][1] == pytest.approx((150.06, 12.3, 12.3))
    assert [getattr(row[0], "text", row[0]) for row in table.rows] == [
        "ttbar",
        "W+jets",
        "tW",
        "total expected",
        "Pseudo-data",
    ]


def test_cutflow() -> None:
    steps = (
        CutflowStep("all events", 1000, 500.0),
        CutflowStep("one_lepton", 200, 61.7),
        CutflowStep("4j2b", 2, 0.4, is_region=True),
    )
    table = tabulate_cutflow(Cutflow("wjets", steps))
    assert table.rows == (
        ("all events", "1000", "500", "100 %"),
        ("exactly one lepton", "200", "61.7", "12.3 %"),
        ("region 4j2b", "2", "0.4", "0.08 %"),
    )
    text = cutflow_table([Cutflow("wjets", steps), Cutflow("ttbar", steps)])
    assert text.count("sum of weights") == 2
    assert text.startswith("Cutflow of wjets.\n")
    assert "\n\nCutflow of ttbar.\n" in text

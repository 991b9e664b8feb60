from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest

from analysis.plotting.graph import TaskGraph
from analysis.plotting.report import (
    Headline,
    ReportContent,
    ReportFigure,
    Resources,
    render_report,
    report_sections,
    resources_table,
)
from analysis.plotting.tables import Measured, Table

EVIL = "<script>alert('x')</script> & \"quoted\""
PNG = b"\x89PNG\r\n\x1a\n not really"
VOID = {"meta", "img", "rect", "path", "br"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what can be checked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.alternatives: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}:
                self.links.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "alt":
                self.alternatives.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture
def content() -> ReportContent:
    figure = ReportFigure(PNG, f"caption {EVIL}", f"alternative {EVIL}")
    table = Table(f"table {EVIL}", (EVIL, "n"), ((EVIL, Measured(12.3, 1.2, 1.2)),))
    return ReportContent(
        title=f"title {EVIL}",
        date="2015-06-03",
        headline=Headline("ttbar_norm", 0.96032, (0.10413,), f"sentence {EVIL}"),
        notices=(f"notice {EVIL}",),
        fit_facts={f"name {EVIL}": f"fact {EVIL}"},
        fit_figures=(figure, figure),
        distributions=(figure,),
        shifts=(figure,),
        yields=(table,),
        cutflow_figures=(figure,),
        cutflows=(table,),
        training_figures=(figure,),
        graph=TaskGraph((EVIL, "Fit"), (("Fit", EVIL),)),
        provenance={"commit": EVIL},
        resources=(Resources(EVIL, 3, 12.0, 24_000),),
    )


def test_result_comes_first(content: ReportContent) -> None:
    text = " ".join(Page(render_report(content)).text.split())
    assert "ttbar_norm = 0.960 ± 0.104 sentence" in text
    places = [text.index(word) for word in ("ttbar_norm =", "notice", "name <script>", "caption", "12.3 ± 1.2")]
    assert places == sorted(places)


def test_page_needs_nothing_else(content: ReportContent) -> None:
    page = Page(render_report(content))
    assert page.links
    assert all(link.startswith(("#", "data:image/png;base64,")) for _, link in page.links)
    assert not page.tags & {"script", "link", "iframe", "object", "base"}
    assert "url(" not in render_report(content)
    assert "@import" not in render_report(content)


def test_images_are_inside(content: ReportContent) -> None:
    sources = [link for name, link in Page(render_report(content)).links if name == "src"]
    assert len(sources) == 6
    assert {base64.b64decode(s.split(",")[1]) for s in sources} == {PNG}


def test_all_texts_are_escaped(content: ReportContent) -> None:
    html = render_report(content)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 15
    page = Page(html)
    assert page.alternatives == [f"alternative {EVIL}"] * 6
    for word in ("title", "notice", "sentence", "name", "fact", "caption", "table"):
        assert f"{word} {EVIL}" in page.text


def test_links_lead_somewhere(content: ReportContent) -> None:
    page = Page(render_report(content))
    assert len(page.ids) == len(set(page.ids))
    targets = {link[1:] for name, link in page.links if name == "href"} - {"_"}
    assert targets <= set(page.ids)
    assert {section.anchor for section in report_sections(content)} <= targets


def test_missing_content_is_said() -> None:
    content = ReportContent("title", "today")
    page = Page(render_report(content))
    assert "There is no result, because no fit was made." in page.text
    assert all(section.is_empty for section in report_sections(content))
    for section in report_sections(content):
        assert section.title in page.text
        assert section.empty in page.text
        assert section.empty.endswith(".")


def test_full_content_has_no_excuses(content: ReportContent) -> None:
    text = Page(render_report(content)).text
    assert not any(section.empty in text for section in report_sections(content))


def test_same_content_same_page(content: ReportContent) -> None:
    assert render_report(content) == render_report(content)


def test_resources() -> None:
    table = resources_table((Resources("SelectEvents", 3, 12.0, 24_000), Resources("FitModel", 1, 0.5)))
    assert table.rows == (
        ("SelectEvents", "3", "12.0", "24 000", "2000"),
        ("FitModel", "1", "0.5", "\N{EN DASH}", "\N{EN DASH}"),
        ("total", "4", "12.5", "", ""),
    )

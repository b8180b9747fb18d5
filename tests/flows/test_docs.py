"""The documentation works: every block of code runs, generated parts are fresh, links lead somewhere."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import equipoise
from equipoise import OutcomeTable, registry, write_table
from equipoise.cli.main import main
from equipoise.datasets import public
from tests.contracts import test_router_adversity as adversity
from tests.contracts import test_router_contract as contract

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(<!-- not run: .+? -->\n+)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block that is to be run."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found[1] is None and found[2] in ("python", "console", "sh"):
            yield Block(found[2], found[3], text.count("\n", 0, found.start(3)) + 1)


def made_up_table() -> OutcomeTable:
    """Sums and capitals, answered by three models of which the cheap ones are good at one kind each."""
    rng = np.random.default_rng(0)
    endings = ("avia", "onia", "istan", "mark", "land")
    countries = [start + end for start in ("Al", "Bor", "Cas", "Dor", "El") for end in endings]
    rows = []
    for i in range(130):
        kind = "sums" if i % 2 else "capitals"
        prompt = f"What is {i} * {i + 7}?" if i % 2 else f"Name the capital of {countries[i % 25]} in {1800 + i}."
        chance = {"gpt-4o": 0.9, "gpt-4o-mini": 0.8 if i % 2 else 0.3, "claude-3-haiku": 0.2 if i % 2 else 0.8}
        for model, usd in (("gpt-4o", 1e-3), ("gpt-4o-mini", 1e-4), ("claude-3-haiku", 1.5e-4)):
            rows.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": prompt,
                    "dataset": kind,
                    "model": model,
                    "quality": float(rng.random() < chance[model]),
                    "cost_usd": usd * (1 + len(prompt) / 100),
                    "output_tokens": 10.0,
                    "latency_s": usd * 1000,
                }
            )
    return OutcomeTable.from_rows(rows, name="outcomes")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder with an outcomes.parquet. The table that ships with the package is replaced by a small one."""
    for name in ("outcomes", "ladder"):
        write_table(made_up_table(), tmp_path / f"{name}.parquet")
    monkeypatch.setattr(public, "find", lambda name, folders: tmp_path / "ladder.parquet" if name == "ladder" else None)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # worker processes would take longer to start than to work
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_python(block: Block, page: Path, module: types.ModuleType) -> None:
    # Empty lines in front, so that a traceback names the line of the page.
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    exec(code, module.__dict__)


def run_commands(block: Block, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every ``equipoise`` command; in a console block what is shown below it must be its standard output."""
    parts = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:] if block.language == "console" else [block.code]
    for part in parts:
        command, _, shown = part.replace("\\\n", " ").partition("\n") if block.language == "console" else (part, "", "")
        for line in command.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "equipoise":
                continue
            capsys.readouterr()
            status, said = exit_status(words[1:]), capsys.readouterr()
            assert status == 0, f"{page.name}:{block.line}: {line}: {said.err}"
            if shown.strip():
                assert squeezed(said.out) == squeezed(shown), f"{page.name}:{block.line}: {line} says something else"


def exit_status(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:  # argparse ends --version and --help in this way
        return int(end.code or 0)


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p))], ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(
    page: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(page):
        if block.language == "python":
            run_python(block, page, module)
        else:
            run_commands(block, page, capsys)


def script(path: Path) -> types.ModuleType:
    """A program beside the package, imported without being run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_reports_routes_and_is_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = functools.partial(equipoise.evaluate, seeds=1)
    monkeypatch.setattr(equipoise, "evaluate", lambda table, routers, **_: once(table, routers=routers), raising=False)
    script(ROOT / "examples" / "demo.py").main()
    said = capsys.readouterr().out
    assert "Verdicts" in said and "rather than" in said and "held-out prompts" in said
    assert "report.html (opens offline)" in said
    for file in ("results.json", "choices.parquet", "report.html"):
        assert (folder / "demo-report" / file).stat().st_size > 0
    results = json.loads((folder / "demo-report" / "results.json").read_text())
    script(ROOT / "examples" / "frontier.py").draw(results, folder / "images" / "frontier.png")
    assert (folder / "images" / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_generated_parts_are_fresh() -> None:
    pages = script(ROOT / "docs" / "generate.py").pages()
    assert len(pages) == 3
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name} is out of date; run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {anchor(title) for title in titles}, f"{page.name} links to {target}"


def anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_row_of_a_table_has_the_cells_of_its_head(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, *rows = table.splitlines()
        # A bar in code ends a cell on GitHub, where it is read.
        bars = [len(re.findall(r"(?<!\\)\|", row)) for row in (head, *rows)]
        assert set(bars) == {bars[0]}, next(row for row, n in zip((head, *rows), bars, strict=True) if n != bars[0])


def test_no_make_target_puts_a_copy_of_the_package_in_the_place_of_the_checkout() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    installs = [line for line in lines if re.search(r"pip install .*(?:\s|')\.", line)]
    assert len(installs) >= 4 and all("--editable" in line for line in installs), installs


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"(\w[\w-]*\.md)", nav))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= listed


def test_the_router_that_the_docs_build_keeps_the_contract(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    page = ROOT / "docs" / "adding-a-router.md"
    run_python(next(blocks(page)), page, module)
    name = module.DomainMean.name
    with_it = {**registry.routers(), name: module.DomainMean}
    monkeypatch.setattr(registry, "routers", lambda: with_it)
    checks = [check for key, check in vars(contract).items() if key.startswith("test_")]
    assert len(checks) > 10
    for check in checks:
        check(name, tmp_path) if "tmp_path" in check.__code__.co_varnames[:2] else check(name)
    for rows in (0, 2):
        adversity.test_few_rows_are_refused_by_name_or_fitted(name, rows)


def test_every_router_has_its_row_in_the_table_that_helps_to_choose() -> None:
    text = (ROOT / "docs" / "routers.md").read_text(encoding="utf-8")
    table = text.split("## Which one")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(registry.routers())
    assert all(len(cells.split(" | ")) == 4 for _, cells in rows)

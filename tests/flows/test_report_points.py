"""Points of the drawn frontier: what they say is true, in the page as it stands and in a browser."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

import equipoise
from equipoise.api import load
from equipoise.cli.main import main
from equipoise.evaluation import Results
from equipoise.evaluation.files import write_evaluation
from equipoise.tables import OutcomeTable, read_table, write_table
from tests.evaluation_fakes import OPTIONS, SubjectAnalyzer, made_table
from tests.small_world import DEAR_MODEL, POEM_MODEL, SUM_MODEL, small_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1100,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[OutcomeTable, Results, Path]:
    """A table, what was found on two of its three models and a third, and the report."""
    folder = tmp_path_factory.mktemp("points")
    write_table(small_table(600), folder / "my table.parquet")
    results = equipoise.evaluate(
        folder / "my table.parquet",
        routers=["knn:k=20", "linear"],
        models=[SUM_MODEL, DEAR_MODEL, POEM_MODEL],
        seeds=2,
        replicates=20,
    )
    write_evaluation(results, folder / "out")
    return read_table(folder / "my table.parquet"), results, folder


def described(page: str) -> dict[str, dict[str, Any]]:
    """By anchor: the words of a point, and the texts to copy."""
    found = {}
    for anchor, block in re.findall(r'<div class="point" id="([^"]+)"[^>]*>(.*?)</div>', page, re.DOTALL):
        codes = [html.unescape(code) for code in re.findall(r"<code>(.*?)</code>", block)]
        found[anchor] = {"words": html.unescape(re.sub(r"<[^>]+>", " ", block)), "codes": codes}
    return found


def linked(page: str) -> list[str]:
    """The anchors of the points in the order in which they are drawn, one over the other."""
    return re.findall(r'<a class="spot" href="#([^"]+)"', page)


def test_every_drawn_point_is_a_link_to_its_description(small: tuple[OutcomeTable, Results, Path]) -> None:
    page = (small[2] / "out" / "report.html").read_text()
    links = re.findall(r'<a class="spot" href="#([^"]+)" aria-label="([^"]+)">', page)
    assert len(links) > 6 and sorted(a for a, _ in links) == sorted(described(page))
    assert {label.split(": ")[0] for _, label in links} == {"knn:k=20", "linear"}
    drawing = page[page.index("<svg") : page.index("</svg>")]
    names = [label.split(": ")[0] for _, label in links]
    assert names[-1] == max(small[1].routers[:2], key=lambda row: row.aiq).name, "the best one lies on top"
    assert drawing.count('class="spot"') == len(links) and 'role="img"' not in drawing


def test_the_command_of_a_point_gives_what_it_says(small: tuple[OutcomeTable, Results, Path], tmp_path: Path) -> None:
    table, results, folder = small
    points = described((folder / "out" / "report.html").read_text())
    checked = 0
    for k, i in itertools.product((0, 1), (0, 2, 5, 9)):
        point = points.get(f"point-{k}-{i}")
        if point is None:
            continue
        command, policy, config = point["codes"]
        words = shlex.split(command)
        assert words[:3] == ["equipoise", "train", str(folder / "my table.parquet")]
        assert words[words.index("--policy") + 1] == policy and policy.split("=")[-1] in config
        came_to = []
        for seed, fold in enumerate(results.folds):
            # The page's numbers are of routers that learned from a part of the table.
            write_table(table.take(fold.split.fit), tmp_path / f"{seed}.parquet")
            words[2], words[-1] = str(tmp_path / f"{seed}.parquet"), str(tmp_path / "router.npz")
            assert main(words[1:]) == 0
            engine = load(tmp_path / "router.npz")
            rows = fold.split.test
            chosen = [table.models.index(engine.decide(str(table.prompts[row])).model) for row in rows]
            came_to.append((table.quality[rows, chosen].mean(), table.cost_usd[rows, chosen].mean()))
        quality, cost = np.mean(came_to, axis=0)
        told = re.search(r"quality ([\d.]+) .*?, ([\d.e-]+) USD", point["words"])
        assert told is not None
        assert float(told[1]) == pytest.approx(quality, abs=0.01)
        assert float(told[2]) == pytest.approx(cost, abs=0.02 * results.baselines["best_single"]["cost_usd"])
        checked += 1
    assert checked >= 4


def test_a_table_in_memory_and_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = "m'<script>alert(1)</script>\"&"
    table = replace(made_table(prompts=300, structure=0.4), models=("m0", "m1", hostile, "m3"))
    quick = {**OPTIONS, "analyzer": SubjectAnalyzer(), "replicates": 5}
    write_evaluation(equipoise.evaluate(table, routers=["subject"], seeds=1, **quick), tmp_path / "o")
    page = (tmp_path / "o" / "report.html").read_text()
    assert page.count("<script") == 1 and "alert(1)</script>" not in page
    assert all(p["codes"][0].startswith("equipoise train TABLE --router subject") for p in described(page).values())


# ---------------------------------------------------------------- in a browser


class Page:
    """A page in a browser, by the browser's own protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count(1)

    async def send(self, method: str, **params: Any) -> Any:
        mine = next(self._ids)
        await self._socket.send_json({"id": mine, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json(timeout=30)
            if answer.get("id") == mine:
                assert "error" not in answer, answer
                return answer["result"]

    async def ask(self, expression: str) -> Any:
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        while await self.ask("location.href !== 'about:blank' && document.readyState") != "complete":
            await asyncio.sleep(0.05)

    async def click(self, selector: str) -> None:
        where = await self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            at = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}
            await self.send("Input.dispatchMouseEvent", type=kind, **at)
        await asyncio.sleep(0.2)

    async def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37}
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **text
            )
        await asyncio.sleep(0.2)

    async def shown(self) -> list[str]:
        """The descriptions that can be seen."""
        return list(
            await self.ask("[...document.querySelectorAll('.point')].filter(p => p.offsetHeight).map(p => p.id)")
        )


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = folder / "DevToolsActivePort"
        async with asyncio.timeout(60):
            while not port.exists() or "\n" not in port.read_text():
                await asyncio.sleep(0.05)
        number = port.read_text().split("\n")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{number}/json/list") as answer:
                target = next(t for t in await answer.json(content_type=None) if t["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                yield page
                await page.send("Browser.close")
    finally:
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("script", [True, False])
async def test_a_click_shows_the_point_with_and_without_script(
    small: tuple[OutcomeTable, Results, Path], tmp_path: Path, script: bool
) -> None:
    file = small[2] / "out" / "report.html"
    # Those of the last curve: none lies over them.
    first, second = linked(file.read_text())[-2:]
    async with browser(tmp_path / "profile") as page:
        await page.send("Emulation.setScriptExecutionDisabled", value=not script)
        await page.open(file.as_uri())
        assert await page.shown() == []
        for anchor in (second, first):
            await page.click(f'a.spot[href="#{anchor}"] circle')
            assert await page.shown() == [anchor]
            assert await page.ask("document.activeElement.id") == anchor
        drawn = await page.ask("document.querySelector('svg').getBoundingClientRect().bottom")
        assert drawn > 200, "the drawing stays in sight"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_points_are_reached_by_keys_and_their_command_is_copied(
    small: tuple[OutcomeTable, Results, Path], tmp_path: Path
) -> None:
    file = small[2] / "out" / "report.html"
    points = described(file.read_text())
    first, second = linked(file.read_text())[:2]
    async with browser(tmp_path / "profile") as page:
        await page.open(file.as_uri())
        for key, anchor in (("Tab", first), ("ArrowLeft", second)):
            await page.press(key)
            assert await page.ask("document.activeElement.getAttribute('href')") == f"#{anchor}"
        await page.press("Enter")
        assert await page.shown() == [second]
        current = "document.querySelector('a.spot[aria-current]').getAttribute('href')"
        assert await page.ask(current) == f"#{second}"
        await page.press("Tab")
        await page.press("Enter")
        assert await page.ask("getSelection().toString()") == points[second]["codes"][0]
        assert await page.ask("document.activeElement.textContent") == "Copied"

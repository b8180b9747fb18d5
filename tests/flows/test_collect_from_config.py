"""``equipoise collect --models A,B`` finds the models where equipoise.yaml says that they can be called."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from equipoise.cli.main import main
from equipoise.tables import read_table
from equipoise.testing import FakeOpenAIServer

CONFIG = """\
models:
  - name: gpt-4o
    deployments: [{{provider: openai, base_url: "{url}", api_key_env: SOME_KEY}}]
  - name: mine
    price: {{usd_per_1m_input: 1000000, usd_per_1m_output: 2000000}}
    deployments: [{{provider: openai_compatible, base_url: "{url}", model_id: mine-v2}}]
  - name: nowhere
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_KEY", "sk-hidden")
    rows = [{"prompt_id": f"p{i}", "prompt": f"say {i}", "answer": f"SAY {i}", "dataset": "say"} for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def collect(*arguments: str) -> int:
    return main(["collect", "prompts.jsonl", "--out", "t.parquet", "--grader", "exact", *arguments])


async def test_models_are_asked_at_their_deployments_and_prices(here: Path) -> None:
    async with FakeOpenAIServer(lambda prompt: prompt.split("\n")[0].upper()) as server:
        (here / "equipoise.yaml").write_text(CONFIG.format(url=server.base_url))
        # In a thread, since the command runs an event loop of its own and the fake server lives in ours.
        assert await asyncio.to_thread(collect, "--models", "mine,gpt-4o", "--max-tokens", "9") == 0
    table = read_table(here / "t.parquet")
    assert table.models == ("mine", "gpt-4o") and table.quality.tolist() == [[1.0, 1.0]] * 3
    assert table.cost_usd[:, 0].tolist() == [6.0] * 3  # two words in, two words out
    assert 0 < table.cost_usd[0, 1] < 1e-3  # at the catalog's price
    assert {r["model"] for r in server.requests} == {"mine-v2", "gpt-4o"}
    assert {h.get("Authorization") for h in server.headers} == {None, "Bearer sk-hidden"}


async def test_another_configuration_and_other_prices_can_be_named(here: Path) -> None:
    async with FakeOpenAIServer(lambda prompt: prompt.split("\n")[0].upper()) as server:
        (here / "other.yaml").write_text(CONFIG.format(url=server.base_url))
        (here / "prices.csv").write_text("model,usd_per_1m_input,usd_per_1m_output\nmine,1,1\n")
        options = ["--models", "mine", "--config", "other.yaml", "--prices", "prices.csv"]
        assert await asyncio.to_thread(collect, *options) == 0
    assert read_table(here / "t.parquet").cost_usd[0, 0] == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--models", "gpt-4o-"], "unknown model of equipoise.yaml 'gpt-4o-'; did you mean 'gpt-4o'?"),
        (["--models", "nowhere"], "equipoise.yaml: model 'nowhere' has no deployments"),
        (["--models", "mine,mine"], "once"),
        (["--models", "mine", "--api-key-env", "K"], "--api-key-env goes with --base-url"),
        (["--models", "mine", "--config", "none.yaml"], "none.yaml: No such file"),
        (["--models", "mine", "--config", "equipoise.yaml", "--base-url", "http://127.0.0.1:1"], "keep one"),
        (["--candidates", "c.yaml", "--config", "equipoise.yaml"], "--config goes with --models alone"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (here / "equipoise.yaml").write_text(CONFIG.format(url="http://127.0.0.1:1"))
    assert collect(*arguments) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not (here / "t.parquet").exists()

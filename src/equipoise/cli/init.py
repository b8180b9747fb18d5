"""``equipoise init``: write a commented configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from equipoise.atomic import write_whole
from equipoise.cli.output import emit_json, say
from equipoise.config import DEFAULT_FILE, json_schema
from equipoise.errors import InputError

EXAMPLE = """\
# Equipoise: which models there are, and how to choose between them.

# Models. Prices, context windows and capabilities come from the catalog; anything can be overridden.
models:
  - name: gpt-4o
    deployments:
      - {provider: openai, base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}
  - name: gpt-4o-mini
    deployments:
      - {provider: openai, base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}
  # - name: my-own-model
  #   price: {usd_per_1m_input: 0.05, usd_per_1m_output: 0.10}
  #   context_window: 32768
  #   tier: local
  #   capabilities: [tools, json, vision]     # what a request may ask of it: without, none with tools goes there
  #   quality: {general: 0.6, code: 0.5, reasoning: 0.5, creative: 0.6}
  #   deployments:
  #     - {provider: openai_compatible, base_url: "http://127.0.0.1:8000/v1"}

# Routes: the names that applications ask for.
routes:
  auto:
    # `static` needs no data. Learn from your own outcomes with
    #   router: {type: linear, table: outcomes.parquet}      or      router: {file: router.npz}
    router: {type: static}
    # A hundredth of quality may cost 0.01 / cost_weight USD.
    policy: {type: cost_aware, form: linear, cost_weight: 500}
    constraints: {max_cost_usd: 0.05}

storage: {url: "sqlite:///equipoise.db"}
shared_state: {url: "memory://"}

# Who may call: with `required`, those who have a key (equipoise keys create); others reach it only then.
# server: {host: 0.0.0.0, port: 8080, keys: required}

# What the keys of a tenant may ask for and spend; "*" is each tenant that is not named.
# tenants: {"*": {rpm: 600, budget: {usd: 50, per: month}}}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--out", metavar="FILE", type=Path, default=DEFAULT_FILE, help="(default equipoise.yaml)")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of equipoise.yaml instead")


def run(args: argparse.Namespace) -> int:
    """0: written."""
    if args.schema:
        emit_json(json_schema())
        return 0
    if args.out.exists() and not args.force:
        raise InputError(f"{args.out} exists; give --force to overwrite it, or --out another file")
    write_whole(args.out, lambda file: file.write(EXAMPLE.encode()))
    say(f"wrote {args.out}; try: equipoise route 'What is 17 * 23?' --explain")
    return 0

"""The gateway against a direct call, bare proxies on the same libraries, and other gateways, in interleaved rounds.

python benchmarks/gateway/run.py --peers /opt/peers --out report     report/results.json, report/table.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from peers import installed

from equipoise.gateway.bench.rounds import Plan, bare, measured, ours, table


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=Path("/opt/peers"), help="where other gateways are installed")
    parser.add_argument("--out", type=Path, default=Path("gateway-report"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=Plan.prompts, help="different ones; the gateway knows few again")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(rounds=args.rounds, seconds=args.seconds, connections=args.connections, prompts=args.prompts)
    contenders = [*bare(), ours(args.out), *installed(args.peers)]
    found = measured(contenders, plan, args.out, print)
    (args.out / "results.json").write_text(json.dumps(found, indent=2))
    (args.out / "table.md").write_text(table(found) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()

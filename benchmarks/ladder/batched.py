"""What stands around ``gpu.py``: prompts as the models' tokens, and their answers as a journal of `equipoise collect`.

    python batched.py tokens  MODEL=URL ... --prompts prompts.jsonl --out tokens.json
    python batched.py journal MODEL=answers.npz ... --prompts prompts.jsonl --tokens tokens.json --out JOURNAL

URL is a llama.cpp server: its own template and tokenizer make the tokens.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.collect.candidates import read_candidates
from equipoise.collect.journal import Answer, Journal, prompt_sha
from equipoise.collect.prompts import read_prompts
from equipoise.tables.answers import SIGNALS

HERE = Path(__file__).parent


def candidates() -> list[Any]:
    return list(read_candidates(HERE / "candidates.yaml").candidates)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


def make_tokens(servers: dict[str, str], rows: list[Any], out: Path) -> None:
    """Prompts of every candidate as token ids, by the model's own template and tokenizer."""
    asked: dict[str, Any] = {}
    for candidate in candidates():
        model = candidate.deployment.model_id
        ids = []
        for row in rows:
            text = post(f"{servers[model]}/apply-template", {"messages": candidate.messages(row.prompt)})["prompt"]
            body = {"content": text, "add_special": True, "parse_special": True}
            ids.append(post(f"{servers[model]}/tokenize", body)["tokens"])
        asked[candidate.name] = {"model": model, "max_tokens": candidate.max_tokens, "ids": ids}
        print(candidate.name, len(ids), "prompts,", max(map(len, ids)), "tokens at most", flush=True)
    out.write_text(json.dumps(asked))


def write_journal(answers: dict[str, Path], rows: list[Any], tokens: dict[str, Any], out: Path) -> None:
    """One journal line per draw, the text cut at the candidate's stop strings."""
    with Journal(out) as journal:
        every = candidates()
        journal.admit(every, rows)
        for candidate in every:
            path = answers[candidate.deployment.model_id]
            with np.load(path) as found:
                ids, lengths = found[f"{candidate.name}/ids"], found[f"{candidate.name}/lengths"]
                ended, sure = found[f"{candidate.name}/ended"], found[f"{candidate.name}/sure"]
                about = json.loads(str(found["about"]))
                pieces = [bytes(p) for p in np.split(found["bytes"], found["ends"][:-1])]
            for i, row in enumerate(rows):
                for sample in range(candidate.samples + 1):
                    kept = ids[i, sample, : lengths[i, sample]]
                    text, used, stopped = cut([pieces[t] for t in kept], candidate.stop)
                    # The server counts the token that ends an answer, as it is paid for.
                    outputs = used if stopped else used + int(ended[i, sample])
                    inputs = len(tokens[candidate.name]["ids"][i])
                    journal.add_answer(
                        Answer(
                            prompt_id=row.prompt_id,
                            candidate=candidate.name,
                            sample=sample,
                            prompt_sha=prompt_sha(row),
                            temperature=candidate.draw_temperature(sample),
                            answer=text,
                            finish="stop" if stopped or ended[i, sample] else "length",
                            input_tokens=inputs,
                            output_tokens=outputs,
                            cached_tokens=0,
                            latency_s=round(candidate.rates.compute_s(0 if sample else inputs, outputs), 6),
                            compute_s=None,
                            cost_usd=candidate.cost_of(inputs, outputs, cached=0, compute_s=None, sample=sample),
                            time=about["time"],
                            timings={"engine": about["engine"]},
                            logprobs=dict(zip(SIGNALS, map(float, sure[i, sample].round(4)), strict=True)),
                        )
                    )
            print(candidate.name, "written", flush=True)


def cut(pieces: Sequence[bytes], stops: Sequence[str]) -> tuple[str, int, bool]:
    """The text up to the first stop string, the tokens that were made for it, and whether one was met."""
    whole = b"".join(pieces)
    first = min((p for p in (whole.find(s.encode()) for s in stops) if p >= 0), default=-1)
    if first < 0:
        return whole.decode("utf-8", "replace"), len(pieces), False
    stop = next(s.encode() for s in stops if whole.startswith(s.encode(), first))
    made = used = 0
    while made < first + len(stop):
        made += len(pieces[used])
        used += 1
    return whole[:first].decode("utf-8", "replace"), used, True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokens", "journal"))
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--prompts", type=Path, default=Path("prompts.jsonl"))
    parser.add_argument("--tokens", type=Path, default=Path("tokens.json"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    named, rows = dict(pair.split("=", 1) for pair in options.inputs), read_prompts(options.prompts)
    if options.what == "tokens":
        make_tokens(named, rows, options.out)
    else:
        paths = {k: Path(v) for k, v in named.items()}
        write_journal(paths, rows, json.loads(options.tokens.read_text()), options.out)


if __name__ == "__main__":
    main()

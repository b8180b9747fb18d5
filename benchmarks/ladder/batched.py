"""Asks the three models of the ladder in large batches on one GPU, and writes what `equipoise collect` would have.

A llama.cpp server on two cores needs most of a day for every draw; a data-centre GPU needs minutes. The weights are
the same files: tokenised by llama.cpp's own server, dequantised to 32 bits, run by PyTorch, sampled by llama.cpp's
default chain (top-k 40, top-p 0.95, min-p 0.05, then temperature). README.md in this folder has the three commands.

    python batched.py tokens  MODEL=URL ... --prompts prompts.jsonl --out tokens.json
    python batched.py answers MODEL.gguf --tokens tokens.json --out answers.npz [--device cuda] [--draws 8]
    python batched.py journal MODEL=answers.npz ... --prompts prompts.jsonl --tokens tokens.json --out JOURNAL
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
TOP_K, TOP_P, MIN_P, TEMPERATURE = 40, 0.95, 0.05, 0.8
SEED = 20
SURE = ("logprob_mean", "logprob_min", "margin_mean", "margin_min")


# ---------------------------------------------------------------- candidates, tokens, journal: need equipoise


def candidates() -> list[Any]:
    from equipoise.collect.candidates import read_candidates

    return list(read_candidates(HERE / "candidates.yaml").candidates)


def prompts(path: Path) -> list[Any]:
    from equipoise.collect.prompts import read_prompts

    return list(read_prompts(path))


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
    from equipoise.collect.journal import Answer, Journal, prompt_sha

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
                            logprobs=dict(zip(SURE, map(float, sure[i, sample].round(4)), strict=True)),
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


# ---------------------------------------------------------------- the model: needs torch and gguf


class Shape(NamedTuple):
    """Dimensions of a llama or qwen2 model."""

    layers: int
    heads: int
    kv_heads: int
    width: int
    base: float
    eps: float
    interleaved: bool
    eos: tuple[int, ...]


def read_model(path: Path, device: str) -> tuple[Shape, dict[str, Any], list[bytes]]:
    """Dequantised weights by name, on the device, and the bytes of every token."""
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)

    def value(key: str) -> Any:
        return reader.fields[key].contents()

    arch = value("general.architecture")
    text: list[str] = value("tokenizer.ggml.tokens")
    heads = value(f"{arch}.attention.head_count")
    ends = {value("tokenizer.ggml.eos_token_id")} | {text.index(t) for t in ("<|im_end|>", "<|endoftext|>") if t in text}
    shape = Shape(
        layers=value(f"{arch}.block_count"),
        heads=heads,
        kv_heads=value(f"{arch}.attention.head_count_kv"),
        width=value(f"{arch}.embedding_length") // heads,
        base=value(f"{arch}.rope.freq_base"),
        eps=value(f"{arch}.attention.layer_norm_rms_epsilon"),
        interleaved=arch == "llama",
        eos=tuple(sorted(ends)),
    )
    weights = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()).to(device) for t in reader.tensors}
    weights.setdefault("output.weight", weights["token_embd.weight"])
    kinds = value("tokenizer.ggml.token_type")
    return shape, weights, [token_bytes(t, k) for t, k in zip(text, kinds, strict=True)]


def token_bytes(text: str, kind: int) -> bytes:
    """The bytes of a byte-level BPE token; control tokens (kind 3) print nothing."""
    return b"" if kind == 3 else bytes(_BYTES[c] if c in _BYTES else ord(c) & 255 for c in text)


def _byte_alphabet() -> dict[str, int]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


_BYTES = _byte_alphabet()


class Net:
    """A llama-like transformer with a key-value memory of fixed size, in 32 bits."""

    def __init__(self, shape: Shape, weights: dict[str, Any], device: str) -> None:
        import torch

        self.torch, self.s, self.w, self.device = torch, shape, weights, device
        frequency = 1.0 / shape.base ** (torch.arange(0, shape.width, 2, device=device).float() / shape.width)
        angles = torch.arange(2048, device=device).float()[:, None] * frequency[None]
        self.cos, self.sin = angles.cos(), angles.sin()

    def memory(self, rows: int, length: int) -> Any:
        size = (self.s.layers, 2, rows, self.s.kv_heads, length, self.s.width)
        return self.torch.zeros(size, device=self.device)

    def norm(self, x: Any, weight: Any) -> Any:
        return x * self.torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.s.eps) * weight

    def turn(self, x: Any, at: Any) -> Any:
        """Rotary positions; x has shape (rows, heads, t, width), ``at`` (rows, t)."""
        cos, sin = self.cos[at][:, None], self.sin[at][:, None]
        if self.s.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return self.torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return self.torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def run(self, ids: Any, at: Any, memory: Any, slot: int, mask: Any) -> Any:
        """Logits of the last position. ``ids``, ``at``: (rows, t); ``mask``: (rows, t, slots), True where seen."""
        s, w, torch = self.s, self.w, self.torch
        rows, t = ids.shape
        x = w["token_embd.weight"][ids]
        seen = mask.shape[-1]
        bias = torch.zeros(mask.shape, device=self.device).masked_fill_(~mask, -1e30)[:, None, None]
        for layer in range(s.layers):
            name = f"blk.{layer}."
            h = self.norm(x, w[name + "attn_norm.weight"])
            q, k, v = (self.project(h, f"{name}attn_{p}") for p in "qkv")
            q, k = self.turn(q, at), self.turn(k, at)
            memory[layer, 0, :, :, slot : slot + t] = k
            memory[layer, 1, :, :, slot : slot + t] = v
            keys, values = memory[layer, 0, :, :, :seen], memory[layer, 1, :, :, :seen]
            q = q.reshape(rows, s.kv_heads, s.heads // s.kv_heads * t, s.width)
            score = (q @ keys.transpose(-1, -2)).view(rows, s.kv_heads, -1, t, seen) * s.width**-0.5 + bias
            mixed = score.softmax(-1).view(rows, s.kv_heads, -1, seen) @ values
            mixed = mixed.reshape(rows, s.heads, t, s.width).transpose(1, 2).reshape(rows, t, -1)
            x = x + mixed @ w[name + "attn_output.weight"].T
            h = self.norm(x, w[name + "ffn_norm.weight"])
            gate = torch.nn.functional.silu(h @ w[name + "ffn_gate.weight"].T)
            x = x + (gate * (h @ w[name + "ffn_up.weight"].T)) @ w[name + "ffn_down.weight"].T
        return self.norm(x[:, -1], w["output_norm.weight"]) @ w["output.weight"].T

    def project(self, h: Any, name: str) -> Any:
        out = h @ self.w[name + ".weight"].T
        if name + ".bias" in self.w:
            out = out + self.w[name + ".bias"]
        return out.view(*h.shape[:2], -1, self.s.width).transpose(1, 2)


def sample(torch: Any, logits: Any, warm: Any, generator: Any) -> tuple[Any, Any, Any]:
    """Greedy where ``warm`` is False; else top-k, top-p, min-p, temperature, in llama.cpp's order.

    Also the log-probability of the drawn token, and by how much the likeliest token leads, both before sampling.
    """
    top, ids = logits.topk(TOP_K, dim=-1)
    before = top - logits.logsumexp(-1, keepdim=True)
    lead = before[:, 0].exp() - before[:, 1].exp()
    share = top.softmax(-1)
    outside = share.cumsum(-1) - share >= TOP_P
    share = share.masked_fill(outside | (share < MIN_P * share[:, :1]), 0.0)
    heated = (share.clamp_min(1e-30).log() / TEMPERATURE).masked_fill(share == 0.0, -1e30).softmax(-1)
    place = torch.where(warm, torch.multinomial(heated, 1, generator=generator)[:, 0], 0)[:, None]
    return ids.gather(1, place)[:, 0], before.gather(1, place)[:, 0], lead


def answer(net: Net, asked: list[list[int]], most: int, draws: int, stops: Any, seed: int) -> tuple[Any, ...]:
    """Token ids (prompts, draws + 1, most), their lengths, whether a draw ended by itself, and ``SURE`` (..., 4).

    Draw 0 is greedy.
    """
    torch, device = net.torch, net.device
    generator = torch.Generator(device=device).manual_seed(seed)
    n, each = len(asked), draws + 1
    longest = max(map(len, asked))
    ids = torch.zeros(n, longest, dtype=torch.long, device=device)
    for i, prompt in enumerate(asked):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt, device=device)
    pad = torch.tensor([longest - len(p) for p in asked], device=device)
    memory, logits = net.memory(n, longest + most), []
    places = torch.arange(longest, device=device)
    for rows in torch.arange(n, device=device).split(32):
        at = (places[None] - pad[rows, None]).clamp_min(0)
        mask = (places[None, :, None] >= places) & (places >= pad[rows, None, None])
        part = memory[:, :, rows[0] : rows[-1] + 1]
        logits.append(net.run(ids[rows], at, part, 0, mask))
    scores = torch.cat(logits).repeat_interleave(each, 0)
    memory, pad = memory.repeat_interleave(each, 2), pad.repeat_interleave(each)
    made = torch.zeros(n * each, most, dtype=torch.long, device=device)
    length = torch.full((n * each,), most, dtype=torch.long, device=device)
    ended = torch.zeros(n * each, dtype=torch.bool, device=device)
    row = torch.arange(n * each, device=device)
    eos = torch.tensor(net.s.eos, device=device)
    alive = torch.ones_like(ended)
    sums, least = (torch.full((2, n * each), v, device=device) for v in (0.0, 1.0))
    for step in range(most):
        token, *sure = sample(torch, scores, row % each != 0, generator)
        made[row, step] = token
        known, sure = row[alive], torch.stack(sure)[:, alive]
        sums[:, known] += sure
        least[:, known] = torch.minimum(least[:, known], sure)
        over, cut_off = torch.isin(token, eos) & alive, torch.isin(token, stops) & alive
        length[row[over]], ended[row[over]] = step, True
        length[row[cut_off]] = step + 1
        alive = alive & ~over & ~cut_off
        if step + 1 == most or not bool(alive.any()):
            break
        if alive.float().mean() < 0.8:
            memory, pad, row, token = memory[:, :, alive].clone(), pad[alive], row[alive], token[alive]
            alive = torch.ones_like(row, dtype=torch.bool)
        slot = longest + step
        mask = torch.arange(slot + 1, device=device) >= pad[:, None, None]
        scores = net.run(token[:, None], (slot - pad)[:, None], memory, slot, mask)
    sure = torch.cat([sums / (length + ended), least])[[0, 2, 1, 3]].T.view(n, each, 4)
    made, length, ended = made.view(n, each, most), length.view(n, each), ended.view(n, each)
    return tuple(x.cpu().numpy() for x in (made, length, ended, sure))


def batches(asked: list[list[int]], rows: int) -> Iterator[np.ndarray]:
    """Prompts of like length together."""
    order = np.argsort([len(p) for p in asked], kind="stable")
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def make_answers(path: Path, tokens: dict[str, Any], out: Path, options: argparse.Namespace) -> None:
    """All draws of one model."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_grad_enabled(False)
    shape, weights, pieces = read_model(path, options.device)
    net = Net(shape, weights, options.device)
    engine = f"torch {torch.__version__} float32, batched"
    found: dict[str, Any] = {"about": json.dumps({"engine": engine, "time": round(time.time(), 3)})}
    found["bytes"] = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    found["ends"] = np.cumsum([len(p) for p in pieces])
    for name, job in tokens.items():
        if job["model"] != path.stem:
            continue
        asked, most, each = job["ids"][: options.first], job["max_tokens"], options.draws + 1
        # Only the direct candidates stop at an empty line.
        stops = torch.tensor([i for i, p in enumerate(pieces) if b"\n\n" in p] if most <= 80 else [-1], device=options.device)
        ids = np.zeros((len(asked), each, most), dtype=np.int32)
        lengths, ended = np.zeros(ids.shape[:2], dtype=np.int32), np.zeros(ids.shape[:2], dtype=bool)
        sure = np.zeros((*ids.shape[:2], len(SURE)), dtype=np.float32)
        for number, rows in enumerate(batches(asked, options.rows)):
            start = time.perf_counter()
            chosen = [asked[i] for i in rows]
            ids[rows], lengths[rows], ended[rows], sure[rows] = answer(
                net, chosen, most, options.draws, stops, SEED + number
            )
            print(name, number, len(rows), f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        found |= {f"{name}/ids": ids, f"{name}/lengths": lengths, f"{name}/ended": ended, f"{name}/sure": sure}
    np.savez_compressed(out, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokens", "answers", "journal"))
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--prompts", type=Path, default=Path("prompts.jsonl"))
    parser.add_argument("--tokens", type=Path, default=Path("tokens.json"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--rows", type=int, default=100, help="prompts in a batch")
    parser.add_argument("--first", type=int, default=None, help="only the first so many prompts")
    options = parser.parse_args()
    if options.what == "answers":
        make_answers(Path(options.inputs[0]), json.loads(options.tokens.read_text()), options.out, options)
        return
    named = dict(pair.split("=", 1) for pair in options.inputs)
    if options.what == "tokens":
        make_tokens(named, prompts(options.prompts), options.out)
    else:
        paths = {k: Path(v) for k, v in named.items()}
        write_journal(paths, prompts(options.prompts), json.loads(options.tokens.read_text()), options.out)


if __name__ == "__main__":
    main()

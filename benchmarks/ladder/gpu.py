"""Asks one of the ladder's models every prompt, in large batches on one GPU.

A llama.cpp server on two cores needs most of a day for every draw; a data-centre GPU needs minutes. The weights are
the same files, dequantised to 32 bits and run by PyTorch; draws go through llama.cpp's default chain (top-k 40,
top-p 0.95, min-p 0.05, then temperature). Needs torch and gguf, and nothing of Equipoise.

    python gpu.py MODEL.gguf --tokens tokens.json --out answers.npz [--device cuda] [--draws 8]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize

TOP_K, TOP_P, MIN_P, TEMPERATURE = 40, 0.95, 0.05, 0.8
SEED = 20


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
    reader = GGUFReader(path)

    def value(key: str) -> Any:
        return reader.fields[key].contents()

    arch = value("general.architecture")
    text: list[str] = value("tokenizer.ggml.tokens")
    heads = value(f"{arch}.attention.head_count")
    ends = {text.index(t) for t in ("<|im_end|>", "<|endoftext|>") if t in text}
    shape = Shape(
        layers=value(f"{arch}.block_count"),
        heads=heads,
        kv_heads=value(f"{arch}.attention.head_count_kv"),
        width=value(f"{arch}.embedding_length") // heads,
        base=value(f"{arch}.rope.freq_base"),
        eps=value(f"{arch}.attention.layer_norm_rms_epsilon"),
        interleaved=arch == "llama",
        eos=tuple(sorted(ends | {value("tokenizer.ggml.eos_token_id")})),
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
        self.s, self.w, self.device = shape, weights, device
        frequency = 1.0 / shape.base ** (torch.arange(0, shape.width, 2, device=device).float() / shape.width)
        angles = torch.arange(2048, device=device).float()[:, None] * frequency[None]
        self.cos, self.sin = angles.cos(), angles.sin()

    def memory(self, rows: int, length: int) -> Any:
        size = (self.s.layers, 2, rows, self.s.kv_heads, length, self.s.width)
        return torch.zeros(size, device=self.device)

    def norm(self, x: Any, weight: Any) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.s.eps) * weight

    def turn(self, x: Any, at: Any) -> Any:
        """Rotary positions; x has shape (rows, heads, t, width), ``at`` (rows, t)."""
        cos, sin = self.cos[at][:, None], self.sin[at][:, None]
        if self.s.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def run(self, ids: Any, at: Any, memory: Any, slot: int, mask: Any) -> Any:
        """Logits of the last position. ``ids``, ``at``: (rows, t); ``mask``: (rows, t, slots), True where seen."""
        s, w = self.s, self.w
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


def sample(logits: Any, warm: Any, generator: Any) -> tuple[Any, Any, Any]:
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
    """Token ids (prompts, draws + 1, most), their lengths, whether a draw ended by itself, how sure it was (..., 4).

    Draw 0 is greedy.
    """
    device = net.device
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
        token, *sure = sample(scores, row % each != 0, generator)
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
        ends = [i for i, p in enumerate(pieces) if b"\n\n" in p] if most <= 80 else [-1]
        stops = torch.tensor(ends, device=options.device)
        ids = np.zeros((len(asked), each, most), dtype=np.int32)
        lengths, ended = np.zeros(ids.shape[:2], dtype=np.int32), np.zeros(ids.shape[:2], dtype=bool)
        sure = np.zeros((*ids.shape[:2], 4), dtype=np.float32)
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
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=Path, default=Path("tokens.json"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--rows", type=int, default=100, help="prompts in a batch")
    parser.add_argument("--first", type=int, default=None, help="only the first so many prompts")
    options = parser.parse_args()
    make_answers(options.model, json.loads(options.tokens.read_text()), options.out, options)


if __name__ == "__main__":
    main()

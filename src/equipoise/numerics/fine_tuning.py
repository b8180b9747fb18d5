"""Fine-tuning a small BERT encoder together with linear heads, in torch. The only place that imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from equipoise.errors import MissingExtra
from equipoise.types import Floats, Ints

_BATCH = 32
_HEADS = 12
_WARM_UP = 0.06
_DECAY = 0.01
# Heads may move faster than the encoder.
_HEAD_RATE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is tuned: encoder tensors by name, head weights (d, m) on vectors less ``centre`` (d,)."""

    encoder: Mapping[str, npt.NDArray[Any]]
    head: Floats
    centre: Floats


def fine_tuned(
    start: Tuning,
    tokens: Sequence[Sequence[int]],
    offset: Floats,
    quality: Floats,
    *,
    epochs: int,
    rate: float,
    seed: int,
) -> Tuning:
    """Encoder and heads after training by cross entropy of ``(vector - centre) . head + offset``.

    Args:
        tokens: of every prompt.
        offset: what else says about the log odds, shape (n, m); stays as it is.
        quality: shape (n, m); NaN cells do not count.

    Raises:
        MissingExtra: torch is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - the optional extra
    except ImportError:
        raise MissingExtra("minilm", "fine-tuning") from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)

    def tensor(values: Any) -> Any:
        return torch.tensor(np.asarray(values, dtype=np.float32), device=device)

    encoder = {k: tensor(v).requires_grad_() for k, v in start.encoder.items() if v.dtype.kind == "f"}
    head, centre = tensor(start.head).requires_grad_(), tensor(start.centre)
    offsets, observed = tensor(offset), tensor(~np.isnan(quality))
    target = tensor(np.nan_to_num(quality))
    groups = [{"params": list(encoder.values()), "lr": rate}, {"params": [head], "lr": _HEAD_RATE * rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=_DECAY)
    steps = epochs * -(-len(tokens) // _BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_share(step, steps))
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for rows in _batches(tokens, rng):
            vectors = encoded(encoder, [tokens[i] for i in rows])
            strength = (vectors - centre) @ head + offsets[rows]
            each = torch.nn.functional.binary_cross_entropy_with_logits(strength, target[rows], reduction="none")
            loss = (each * observed[rows]).sum() / observed[rows].sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*encoder.values(), head], 1.0)
            optimiser.step()
            schedule.step()
    found = {k: v.detach().cpu().numpy() for k, v in encoder.items()}
    return Tuning(encoder=found, head=head.detach().cpu().numpy().astype(np.float64), centre=start.centre)


def encoded(encoder: Mapping[str, Any], tokens: Sequence[Sequence[int]]) -> Any:
    """Unit vectors of a batch of prompts as a torch tensor, as ``analysis.minilm`` computes them in numpy."""
    import torch  # noqa: PLC0415 - the optional extra
    from torch.nn import functional as f  # noqa: PLC0415

    device = next(iter(encoder.values())).device
    longest = max(map(len, tokens))
    ids = torch.tensor([[*t, *[0] * (longest - len(t))] for t in tokens], device=device)
    there = torch.arange(longest, device=device) < torch.tensor([len(t) for t in tokens], device=device)[:, None]

    def linear(x: Any, name: str) -> Any:
        return f.linear(x, encoder[name + ".weight"], encoder[name + ".bias"])

    def norm(x: Any, name: str) -> Any:
        return f.layer_norm(x, x.shape[-1:], encoder[name + ".weight"], encoder[name + ".bias"], 1e-12)

    x = encoder["embeddings.word_embeddings.weight"][ids]
    x = x + encoder["embeddings.position_embeddings.weight"][:longest]
    x = norm(x + encoder["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    layer = 0
    while (prefix := f"encoder.layer.{layer}.") + "output.dense.weight" in encoder:
        q, k, v = (
            linear(x, f"{prefix}attention.self.{part}").unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = f.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
        attended = linear(mixed.transpose(1, 2).flatten(2), prefix + "attention.output.dense")
        x = norm(x + attended, prefix + "attention.output.LayerNorm")
        hidden = f.gelu(linear(x, prefix + "intermediate.dense"))
        x = norm(x + linear(hidden, prefix + "output.dense"), prefix + "output.LayerNorm")
        layer += 1
    mean = (x * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)
    return f.normalize(mean, dim=1)


def _batches(tokens: Sequence[Sequence[int]], rng: np.random.Generator) -> list[Ints]:
    """All prompts in random batches of about equal length, so that little is padding."""
    lengths = np.array([len(t) for t in tokens])
    order = rng.permutation(len(tokens))
    pools = [order[i : i + 32 * _BATCH] for i in range(0, len(order), 32 * _BATCH)]
    batches: list[Ints] = []
    for pool in pools:
        ordered = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [ordered[i : i + _BATCH] for i in range(0, len(ordered), _BATCH)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero."""
    warm = max(1, round(_WARM_UP * steps))
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))

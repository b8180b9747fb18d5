"""A small network in plain numpy: groups of features attend to each other, then two heads read the result.

    group g:    t_g = relu(W2 relu(W1_g x_g))                      the feature processor, one token per group
    attention:  y_g = t_g + Wo softmax(Q K' / sqrt d) V            several heads; y is the mean over groups
    selection:  p   = softmax(Ws2 relu(Ws1 y))                     which model is best
    utility:    u   = sigmoid(Wu2 relu(Wu1 [y, p]))                how good every model is

Every array has a leading axis of e networks that are trained side by side, each on rows of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from equipoise.numerics.odds import sigmoid, softmax
from equipoise.types import Singles

Parameters = dict[str, Singles]
HEADS = 4


class Target(NamedTuple):
    """What a batch should give: shares of the best models (e, n, s) and qualities (e, n, m), with weights of both.

    ``share_weight`` (e, n, 1) is zero where no model is better than another, ``quality_weight`` (e, n, m) where a
    model was not asked.
    """

    share: Singles
    share_weight: Singles
    quality: Singles
    quality_weight: Singles


class Pass(NamedTuple):
    """Everything that the way forward computed and the way back needs."""

    first: list[Singles]
    tokens: Singles
    query: Singles
    key: Singles
    value: Singles
    attention: Singles
    mixed: Singles
    pooled: Singles
    chosen: Singles
    share: Singles
    joined: Singles
    rated: Singles
    utility: Singles
    kept: list[Singles]


def initial(groups: Sequence[int], hidden: int, models: int, nets: int, rng: np.random.Generator) -> Parameters:
    """Random weights, scaled by the number of inputs; ``groups`` are the widths of the feature groups."""
    half = hidden // 2
    shapes = {f"w1.{g}": (width, hidden) for g, width in enumerate(groups)}
    shapes |= {name: (hidden, hidden) for name in ("w2", "wq", "wk", "wv", "wo")}
    shapes |= {"ws1": (hidden, half), "ws2": (half, models), "wu1": (hidden + models, half), "wu2": (half, models)}
    made: Parameters = {}
    for name, (inputs, outputs) in shapes.items():
        made[name] = (rng.normal(size=(nets, inputs, outputs)) * np.sqrt(2.0 / inputs)).astype(np.float32)
        if name not in ("wq", "wk", "wv", "wo"):
            made["b" + name[1:]] = np.zeros((nets, 1, outputs), np.float32)
    for name in ("wo", "ws2", "wu2"):
        made[name] *= np.float32(0.1)
    return made


def forward(
    p: Mapping[str, Singles], x: Sequence[Singles], keep: float = 1.0, rng: np.random.Generator | None = None
) -> Pass:
    """Apply the networks to feature groups, each (e or 1, n, width); with ``rng`` only a share ``keep`` of units."""
    kept: list[Singles] = []

    def dropped(values: Singles) -> Singles:
        if rng is None:
            return values
        kept.append((rng.random(values.shape, dtype=np.float32) < keep).astype(np.float32) / np.float32(keep))
        return values * kept[-1]

    first = [dropped(_relu(part @ p[f"w1.{g}"] + p[f"b1.{g}"])) for g, part in enumerate(x)]
    tokens = dropped(_relu(np.stack(first, axis=2) @ p["w2"][:, None] + p["b2"][:, None]))
    query, key, value = (_heads(tokens @ p[name][:, None]) for name in ("wq", "wk", "wv"))
    attention = softmax(query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1])))
    mixed = _joined(attention @ value)
    pooled = (tokens + mixed @ p["wo"][:, None]).mean(axis=2)
    chosen = dropped(_relu(pooled @ p["ws1"] + p["bs1"]))
    share = softmax(chosen @ p["ws2"] + p["bs2"])
    joined = np.concatenate([pooled, share], axis=2)
    rated = _relu(joined @ p["wu1"] + p["bu1"])
    utility = sigmoid(rated @ p["wu2"] + p["bu2"])
    return Pass(first, tokens, query, key, value, attention, mixed, pooled, chosen, share, joined, rated, utility, kept)


def loss(found: Pass, target: Target, utility_weight: float) -> float:
    """Cross entropy of the selection plus ``utility_weight`` times that of the qualities, means over rows."""
    rows = found.share.shape[1]
    selection = -(target.share * np.log(np.maximum(found.share, 1e-12))) * target.share_weight
    u, q = np.clip(found.utility, 1e-7, 1 - 1e-7), target.quality
    rating = -(q * np.log(u) + (1 - q) * np.log(1 - u)) * target.quality_weight
    total = float(selection.sum()) + utility_weight * float(rating.sum())
    return total / float(rows)


def backward(
    p: Mapping[str, Singles], x: Sequence[Singles], found: Pass, target: Target, utility_weight: float
) -> Parameters:
    """The slopes of ``loss`` by every parameter."""
    grad: Parameters = {}
    kept = list(found.kept)
    rows = np.float32(found.share.shape[1])

    def through(name: str, inputs: Singles, slope: Singles) -> Singles:
        """Past a linear layer: notes its slopes, returns the slope by its inputs."""
        grad["w" + name], grad["b" + name] = inputs.swapaxes(1, 2) @ slope, slope.sum(axis=1, keepdims=True)
        return slope @ p["w" + name].swapaxes(1, 2)

    def undropped(slope: Singles) -> Singles:
        return slope * kept.pop() if kept else slope

    by_rating = (found.utility - target.quality) * target.quality_weight * np.float32(utility_weight) / rows
    by_joined = through("u1", found.joined, through("u2", found.rated, by_rating) * (found.rated > 0))
    hidden = found.pooled.shape[2]
    by_pooled, by_share = by_joined[:, :, :hidden], by_joined[:, :, hidden:]
    by_logit = found.share * (by_share - (by_share * found.share).sum(axis=2, keepdims=True))
    by_logit += (found.share - target.share) * target.share_weight / rows
    by_chosen = undropped(through("s2", found.chosen, by_logit)) * (found.chosen > 0)
    by_pooled = by_pooled + through("s1", found.pooled, by_chosen)
    by_tokens = _attention_backward(p, found, by_pooled, grad)
    by_tokens = undropped(by_tokens) * (found.tokens > 0)
    _processor_backward(p, x, found, by_tokens, grad, kept)
    return grad


def _attention_backward(p: Mapping[str, Singles], found: Pass, by_pooled: Singles, grad: Parameters) -> Singles:
    """Past pooling and attention, back to the tokens, shape (e, n, g, hidden)."""
    groups = found.tokens.shape[2]
    by_out = np.repeat(by_pooled[:, :, None] / np.float32(groups), groups, axis=2)
    by_tokens = by_out.copy()
    grad["wo"] = _outer(found.mixed, by_out)
    by_mixed = _heads(by_out @ p["wo"][:, None].swapaxes(2, 3))
    by_weight = by_mixed @ found.value.swapaxes(-1, -2)
    a = found.attention
    by_score = a * (by_weight - (by_weight * a).sum(axis=-1, keepdims=True))
    by_score /= np.float32(np.sqrt(found.query.shape[-1]))
    slopes = {
        "wv": a.swapaxes(-1, -2) @ by_mixed,
        "wq": by_score @ found.key,
        "wk": by_score.swapaxes(-1, -2) @ found.query,
    }
    for name, by_heads in slopes.items():
        slope = _joined(by_heads)
        grad[name] = _outer(found.tokens, slope)
        by_tokens += slope @ p[name][:, None].swapaxes(2, 3)
    return by_tokens


def _processor_backward(
    p: Mapping[str, Singles],
    x: Sequence[Singles],
    found: Pass,
    by_tokens: Singles,
    grad: Parameters,
    kept: list[Singles],
) -> None:
    """Past the feature processor, back to the features."""
    grad["w2"] = _outer(np.stack(found.first, axis=2), by_tokens)
    grad["b2"] = by_tokens.sum(axis=(1, 2))[:, None]
    by_first = by_tokens @ p["w2"][:, None].swapaxes(2, 3)
    for g in reversed(range(len(x))):
        slope = by_first[:, :, g] * (kept.pop() if kept else np.float32(1)) * (found.first[g] > 0)
        part = np.broadcast_to(x[g], (len(slope), *x[g].shape[1:]))
        grad[f"w1.{g}"], grad[f"b1.{g}"] = part.swapaxes(1, 2) @ slope, slope.sum(axis=1, keepdims=True)


def _outer(inputs: Singles, slope: Singles) -> Singles:
    """Slopes by the weights of a layer that all tokens share, from (e, n, g, a) and (e, n, g, b)."""
    flat = (len(inputs), -1)
    out: Singles = inputs.reshape(*flat, inputs.shape[-1]).swapaxes(1, 2) @ slope.reshape(*flat, slope.shape[-1])
    return out


def _heads(x: Singles) -> Singles:
    """From (e, n, g, hidden) to (e, n, heads, g, hidden / heads)."""
    e, n, g, hidden = x.shape
    return x.reshape(e, n, g, HEADS, hidden // HEADS).transpose(0, 1, 3, 2, 4)


def _joined(x: Singles) -> Singles:
    """The inverse of ``_heads``."""
    e, n, heads, g, width = x.shape
    return x.transpose(0, 1, 3, 2, 4).reshape(e, n, g, heads * width)


def _relu(x: Singles) -> Singles:
    return np.maximum(x, np.float32(0))

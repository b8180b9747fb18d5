"""Costs that were not measured, from tokens and prices. What cannot be known is an error, never zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from equipoise.errors import NotEnoughData, PriceError
from equipoise.tables.table import OutcomeTable
from equipoise.types import Bools, Floats, Ints, Model, Price

# So many models are named as those that lack outcomes.
_NAMED = 3


def with_costs(
    table: OutcomeTable, *, prices: Mapping[str, Price] | None = None, find: Callable[[str], Model | None]
) -> OutcomeTable:
    """The table with every missing cost computed from tokens and price. Measured costs stay as they are.

    Args:
        table: the outcomes.
        prices: prices by model name; they win over the catalog.
        find: looks a model up in the catalog.

    Raises:
        PriceError: naming a model whose price, or whose token counts, are missing.
    """
    cost = table.cost_usd.copy()
    needed = table.measured & np.isnan(cost)
    for j in np.flatnonzero(needed.any(axis=0)):
        price = _price_of(table.models[j], prices or {}, find)
        cost[needed[:, j], j] = _column(table, int(j), needed[:, j], price)
    return replace(table, cost_usd=cost)


def rows_to_calibrate(table: OutcomeTable) -> Ints:
    """The prompts that every model was measured on, at a known cost.

    Raises:
        NotEnoughData: there is none; the message says which models lack how many.
    """
    missing = ~table.measured | np.isnan(table.cost_usd)
    rows = np.flatnonzero(~missing.any(axis=1))
    if len(rows):
        return rows
    lacking = missing.sum(axis=0)
    most = [j for j in np.argsort(-lacking, kind="stable")[:_NAMED] if lacking[j]]
    told = ", ".join(f"'{table.models[j]}' lacks {lacking[j]:,}" for j in most)
    more = f" and {(lacking > 0).sum() - len(most)} more models some" if (lacking > 0).sum() > len(most) else ""
    raise NotEnoughData(
        f"{table.name}: none of {len(table):,} prompts to calibrate on was measured, with its cost, on every model: "
        f"{told}{more}; name models that go together with --models, or collect what is missing"
    )


def _price_of(model: str, prices: Mapping[str, Price], find: Callable[[str], Model | None]) -> Price:
    if model in prices:
        return prices[model]
    found = find(model)
    if found is None or found.price is None:
        raise PriceError(model)
    p = found.price
    if not (p.usd_per_1m_input or p.usd_per_1m_output or p.usd_per_call or p.usd_per_compute_s):
        raise PriceError(model, "the catalog has it at zero, which is no price to compare by")
    return p


def _column(table: OutcomeTable, j: int, rows: Bools, price: Price) -> Floats:
    """Costs of one model in the given rows."""
    model = table.models[j]
    if price.usd_per_compute_s:
        raise PriceError(model, "it is priced by compute time, which a table does not hold")
    cost = np.full(int(rows.sum()), price.usd_per_call)
    long: Bools = np.zeros(len(cost), dtype=bool)
    if price.long_from_tokens is not None:
        long = _tokens(table, j, rows, "input_tokens") > price.long_from_tokens
    for name, plain, above in (
        ("input_tokens", price.usd_per_1m_input, price.usd_per_1m_input_long),
        ("output_tokens", price.usd_per_1m_output, price.usd_per_1m_output_long),
    ):
        per_million = np.where(long, plain if above is None else above, plain)
        if per_million.any():
            cost += _tokens(table, j, rows, name) * per_million / 1e6
    return cost


def _tokens(table: OutcomeTable, j: int, rows: Bools, name: str) -> Floats:
    """Counts of one model in the given rows."""
    tokens: Floats = getattr(table, name)[rows, j]
    unknown = np.isnan(tokens)
    if unknown.any():
        first = table.prompt_ids[np.flatnonzero(rows)[int(np.argmax(unknown))]]
        raise PriceError(
            table.models[j],
            f"{table.name} has neither cost_usd nor {name} in {int(unknown.sum()):,} rows "
            f"(first: prompt_id '{first}') and the price is per token",
        )
    return tokens

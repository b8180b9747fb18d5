"""Every error that Equipoise raises on purpose.

    EquipoiseError
    |-- InputError                 bad input: exit status 2, or a 4xx at the gateway
    |   |-- ConfigError            equipoise.yaml or a router or policy specification
    |   |-- TableError             an outcome table, a prompts file, a log
    |   |-- PriceError             a price or a cost that is missing; never read as zero
    |   |-- UnknownName            a name that no registry knows, with the nearest one
    |   |-- StateError             a router file that is corrupt, or saved by a newer version
    |   `-- NotEnoughData          too few rows for a method to say anything
    |-- ContractError              a router, policy or embedder that does not do what it promises
    |-- MissingExtra               an optional dependency is not installed
    |-- NoModel                    constraints that no model meets, with the reason for each
    `-- ProviderError              a model call failed; carries status, code, provider, model, retryable

Meaning is in the class and its fields, never in the text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_MOST_SHOWN, _MOST_LISTED = 200, 50


class EquipoiseError(Exception):
    """Base class. ``code`` is stable and machine-readable."""

    code = "error"


class InputError(EquipoiseError):
    """Bad input. The message is one line: what, where, how to mend it."""

    code = "bad_input"


class ConfigError(InputError):
    """A configuration that cannot be used as it stands.

    ``place`` leads to the part of ``equipoise.yaml`` that is at fault, such as ``("models", 0)``; empty where unknown.
    Of a route it leads on from there, such as ``("router", "k")``, until the route is known.
    """

    code = "bad_config"

    def __init__(self, message: str, *, place: Sequence[int | str] = ()) -> None:
        self.place = tuple(place)
        super().__init__(message)


class TableError(InputError):
    """An outcome table, prompts file or log that cannot be used as it stands."""

    code = "bad_table"


class PriceError(InputError):
    """A model's price or cost is missing; it is never taken to be zero.

    Where a price is to be given depends on who asked: commands add the options that they have.
    """

    code = "no_price"

    def __init__(self, model: str, detail: str = "") -> None:
        self.model = model
        super().__init__(
            f"no price for model '{model}'{': ' + detail if detail else ''}; "
            "it needs usd_per_1m_input and usd_per_1m_output, or usd_per_call"
        )


class UnknownName(InputError):
    """A name that is not registered; ``near`` holds the closest known ones."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name = kind, name
        self.known = sorted(known)
        # Clients may ask for a name of megabytes.
        asked = name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "..."
        self.near = difflib.get_close_matches(asked, self.known, n=1, cutoff=0.6)
        more = f" and {len(self.known) - _MOST_LISTED} more" if len(self.known) > _MOST_LISTED else ""
        known = f"known: {', '.join(self.known[:_MOST_LISTED]) or 'none'}{more}"
        hint = f"did you mean '{self.near[0]}'?" if self.near else known
        super().__init__(f"unknown {kind} '{asked}'; {hint}")


class StateError(InputError):
    """A saved router that cannot be read."""

    code = "bad_state"


class ContractError(EquipoiseError):
    """A router, policy or embedder of others does not do what its contract asks. Names and numbers, never a prompt."""

    code = "broken_contract"


class MissingExtra(EquipoiseError):
    """An optional dependency is needed; the message names the extra that brings it."""

    code = "missing_extra"

    def __init__(self, extra: str, what: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra '{extra}': pip install 'equipoise[{extra}]'")


class NoModel(EquipoiseError):
    """No model meets the constraints.

    Attributes:
        refused: maps each model to its reason.
        input_tokens, output_tokens: about how long the prompt is, and its answer.
    """

    code = "no_model"

    def __init__(self, refused: Mapping[str, str], *, input_tokens: float, output_tokens: float) -> None:
        self.refused, self.input_tokens, self.output_tokens = dict(refused), input_tokens, output_tokens
        super().__init__("no model meets the constraints: " + "; ".join(f"{m}: {r}" for m, r in self.refused.items()))


class NotEnoughData(InputError):
    """A method was given too few rows."""

    code = "not_enough_data"


class ProviderError(EquipoiseError):
    """A model call failed. Filled once, at the provider's border.

    Args:
        message: for people; never parsed.
        provider: provider name.
        model: model name.
        status: HTTP status, or None when no response came.
        code: the vendor's code or one of ``timeout``, ``connection``, ``connection_lost``,
            ``bad_response``, ``no_key`` (its key cannot be read), ``worker`` (a local model's process).
        retryable: whether the same call may succeed later.
        retry_after_s: seconds the vendor asked to wait, if it did.

    Attributes:
        param: the field of the client's request that the vendor finds wrong, where it says so.
        cost_usd: what the call cost all the same, as far as its caller knows.
    """

    code = "provider_error"
    param: str | None = None
    cost_usd = 0.0

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str,
        status: int | None = None,
        code: str = "",
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        self.provider, self.model, self.status = provider, model, status
        self.vendor_code, self.retryable, self.retry_after_s = code, retryable, retry_after_s
        super().__init__(f"{provider}/{model}: {message}")

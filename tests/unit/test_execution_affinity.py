"""Which model answered a conversation, and what it still holds."""

from __future__ import annotations

from equipoise.execution.affinity import SessionKey, Sessions, held_tokens, session_key
from equipoise.traffic import TokenUsage
from equipoise.types import Price, Warm
from tests.execution_fakes import Hands

AUTOMATIC = Price(usd_per_1m_input=3.0, usd_per_1m_cached_input=0.3)
EXPLICIT = Price(usd_per_1m_input=3.0, usd_per_1m_cached_input=0.3, usd_per_1m_cache_write=3.75)
LONG = TokenUsage(input_tokens=5000, output_tokens=100)


def key(tenant: str = "t", route: str = "auto", session: str | None = None, affinity: bytes = b"seed") -> SessionKey:
    return session_key(tenant, route, session=session, affinity=affinity)


def test_a_conversation_is_recalled_with_its_deployment_and_what_is_warm() -> None:
    sessions = Sessions(clock=Hands())
    sessions.remember(key(), "m/a", Warm("m", 5000), mixed=False)
    past = sessions.recall(key())
    assert past is not None
    assert (past.model, past.deployment, past.warm) == ("m", "m/a", Warm("m", 5000))
    assert sessions.recall(key(affinity=b"other")) is None


def test_what_models_hold_that_were_asked_beside_it_is_warm_as_long() -> None:
    clock, also = Hands(), (Warm("cheap", 4000),)
    sessions = Sessions(clock=clock, warm_s=10.0)
    sessions.remember(key(), "m/a", Warm("m", 0, also), mixed=False)
    past = sessions.recall(key())
    assert past is not None and past.warm == Warm("m", 0, also)
    clock.now = 10.0
    past = sessions.recall(key())
    assert past is not None and past.warm is None


def test_no_two_conversations_share_a_name() -> None:
    names = {
        key(),
        key(tenant="u"),
        key(route="fast"),
        key(session="s"),
        key(session="s", tenant="u"),
        key(affinity=b"s"),
        key(tenant="ta", route="uto"),
        key(session="seed"),
    }
    assert len(names) == 8
    assert key(session="s", affinity=b"x") == key(session="s", affinity=b"y"), "a client's own name is enough"


def test_the_prompt_cache_cools_before_the_conversation_is_forgotten() -> None:
    clock = Hands()
    sessions = Sessions(clock=clock, ttl_s=100.0, warm_s=10.0)
    sessions.remember(key(), "m/a", Warm("m", 5000), mixed=False)
    clock.now = 10.0
    past = sessions.recall(key())
    assert past is not None and past.model == "m" and past.warm is None
    clock.now = 100.0
    assert sessions.recall(key()) is None
    assert len(sessions) == 0


def test_only_the_latest_conversations_are_remembered() -> None:
    sessions = Sessions(clock=Hands(), most=3)
    for name in "abcd":
        sessions.remember(key(session=name), name, Warm(name, 0), mixed=False)
        sessions.remember(key(session="a"), "a", Warm("a", 0), mixed=False)
    assert len(sessions) == 3
    assert sessions.recall(key(session="a")) is not None
    assert sessions.recall(key(session="b")) is None


def test_a_tenant_with_many_conversations_makes_none_of_anothers_be_forgotten() -> None:
    sessions = Sessions(clock=Hands(), most=4)
    sessions.remember(key("small"), "m/a", Warm("m", 0), mixed=True)
    for name in "abcdefgh":
        sessions.remember(key("large", session=name), "m/a", Warm("m", 0), mixed=False)
    assert len(sessions) == 4
    assert sessions.recall(key("small")) is not None
    assert sessions.recall(key("large", session="h")) is not None


def test_what_is_held_depends_on_how_the_vendor_caches() -> None:
    assert held_tokens(LONG, AUTOMATIC) == 5000
    assert held_tokens(TokenUsage(input_tokens=500), AUTOMATIC) == 0, "too short to be cached by itself"
    assert held_tokens(LONG, EXPLICIT) == 0, "nothing was marked for the cache"
    marked = TokenUsage(input_tokens=5000, cached_tokens=3000, cache_write_tokens=1500)
    assert held_tokens(marked, EXPLICIT) == 4500
    assert held_tokens(LONG, Price(usd_per_1m_input=3.0)) == 0
    assert held_tokens(LONG, None) == 0

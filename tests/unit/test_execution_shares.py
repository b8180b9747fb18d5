"""What tenants share: within its bounds, and fair."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.execution.shares import Shares


def filled(shares: Shares[int], tenant: str, count: int, size: int = 0) -> None:
    for i in range(count):
        shares.put(tenant, b"%d" % i, i, size)


def held(shares: Shares[int], tenant: str, count: int) -> int:
    return sum(shares.get(tenant, b"%d" % i) is not None for i in range(count))


def test_a_tenant_that_keeps_much_drives_out_only_its_own():
    shares: Shares[int] = Shares(1000)
    filled(shares, "small", 100)
    filled(shares, "large", 20_000)
    assert held(shares, "small", 100) == 100
    assert shares.get("large", b"19999") == 19_999


def test_many_tenants_come_to_equal_shares():
    shares: Shares[int] = Shares(1000)
    for tenant in map(str, range(50)):
        filled(shares, tenant, 200)
    counts = [held(shares, tenant, 200) for tenant in map(str, range(50))]
    assert max(counts) - min(counts[:-1]) <= 2 and sum(counts) == shares.count <= 1000


def test_of_bytes_the_one_with_most_loses_its_longest_unused():
    shares: Shares[int] = Shares(100, 1000)
    filled(shares, "a", 3, 100)
    filled(shares, "b", 6, 100)
    assert shares.get("b", b"0") == 0
    shares.put("a", b"x", 7, 150)
    assert shares.get("b", b"1") is None and shares.get("b", b"0") == 0 and held(shares, "a", 3) == 3


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 40)), max_size=80),
    st.integers(1, 9),
    st.integers(40, 200),
)
def test_bounds_and_sums_hold_whatever_is_kept(puts, most, most_bytes):
    gone: list[tuple[str, bytes]] = []
    shares: Shares[int] = Shares(most, most_bytes, gone=lambda tenant, key, _: gone.append((tenant, key)))
    there: dict[tuple[str, bytes], int] = {}
    for tenant, key, size in puts:
        gone.clear()
        shares.put(tenant, b"%d" % key, size, size)
        for one in gone:
            there.pop(one, None)
        if shares.get(tenant, b"%d" % key) is not None:
            there[tenant, b"%d" % key] = size
        assert shares.count == len(there) <= most
        assert shares.bytes == sum(there.values()) <= most_bytes

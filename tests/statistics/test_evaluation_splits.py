"""Splits: whole groups on one side, in about the right sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import NotEnoughData, TableError
from equipoise.evaluation import splits
from equipoise.tables.duplicates import merge_groups


def test_groups_join_whatever_any_labelling_joins() -> None:
    merged = merge_groups(["a", "a", "b", "c", "d"], np.array([0, 1, 1, 2, 3]))
    assert merged[0] == merged[1] == merged[2]
    assert len({*merged.tolist()}) == 3
    assert sorted(set(merged.tolist())) == [0, 1, 2]


@given(st.lists(st.integers(0, 40), min_size=60, max_size=120), st.integers(0, 20))
def test_a_random_split_deals_every_prompt_once_and_no_group_twice(groups: list[int], seed: int) -> None:
    array = np.unique(np.array([*groups, *range(41, 60)]), return_inverse=True)[1]
    split = splits.random_split(array, seed)
    parts = (split.fit, split.calibrate, split.test)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(array)))
    seen = [set(array[p].tolist()) for p in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_shares_are_60_20_20_and_seeds_differ() -> None:
    split = splits.random_split(np.arange(1000), 0)
    assert (len(split.fit), len(split.calibrate), len(split.test)) == (600, 200, 200)
    assert splits.random_split(np.arange(1000), 0).test.tolist() == split.test.tolist()
    assert splits.random_split(np.arange(1000), 1).test.tolist() != split.test.tolist()


def test_leaving_a_data_set_out_also_leaves_out_what_is_tied_to_it() -> None:
    datasets = np.array(["a"] * 20 + ["b"] * 20 + ["c"] * 5, dtype=object)
    groups = np.arange(45)
    groups[0] = groups[20]
    found = splits.dataset_splits(groups, datasets)
    assert [s.label for s in found] == ["a", "b"]
    assert 20 not in found[0].train.tolist() and 0 not in found[1].train.tolist()
    assert set(datasets[found[0].test]) == {"a"}


def test_one_data_set_cannot_be_left_out() -> None:
    with pytest.raises(NotEnoughData, match="--split random"):
        splits.dataset_splits(np.arange(30), np.array(["a"] * 30, dtype=object))


def test_a_held_out_model_is_seen_on_a_few_fit_rows() -> None:
    split = splits.model_splits(np.arange(1000), [3], shown=50)[0]
    assert split.hidden == 3 and split.shown is not None
    assert len(split.shown) == 50 and set(split.shown.tolist()) <= set(split.fit.tolist())


def test_the_tables_own_split_is_honoured() -> None:
    names = np.array(["train"] * 40 + ["test"] * 10, dtype=object)
    split = splits.table_split(names, np.arange(50), 0)
    assert split.test.tolist() == list(range(40, 50))
    assert (len(split.fit), len(split.calibrate)) == (30, 10)
    names[:10] = "validation"
    assert splits.table_split(names, np.arange(50), 0).calibrate.tolist() == list(range(10))


def test_training_prompts_tied_to_test_prompts_are_dropped_from_the_tables_split() -> None:
    names = np.array(["train"] * 40 + ["test"] * 10, dtype=object)
    groups = np.arange(50)
    groups[45] = 3
    assert 3 not in splits.table_split(names, groups, 0).train.tolist()


def test_prompts_to_fit_on_that_are_tied_to_calibration_prompts_are_dropped_from_the_tables_split() -> None:
    names = np.array(["train"] * 30 + ["calibration"] * 10 + ["test"] * 10, dtype=object)
    groups = np.arange(50)
    groups[35] = 3
    split = splits.table_split(names, groups, 0)
    assert split.calibrate.tolist() == list(range(30, 40))
    assert split.fit.tolist() == [*range(3), *range(4, 30)]


def test_a_table_without_a_usable_split_column_is_refused() -> None:
    with pytest.raises(TableError, match="no 'split' column"):
        splits.table_split(None, np.arange(5), 0)
    with pytest.raises(TableError, match="found: train"):
        splits.table_split(np.array(["train"] * 5, dtype=object), np.arange(5), 0)


@pytest.mark.parametrize("name", ["tset", "holdout", ""])
def test_rows_that_are_held_out_under_another_name_are_not_trained_on(name: str) -> None:
    names = np.array(["train"] * 40 + ["test"] * 8 + [name] * 2, dtype=object)
    with pytest.raises(TableError, match=rf"holds '{name}' \(2 prompts\); name rows train, test or calibration"):
        splits.table_split(names, np.arange(50), 0)


def test_too_few_groups_cannot_be_split() -> None:
    with pytest.raises(NotEnoughData, match="too few"):
        splits.random_split(np.zeros(100, dtype=np.int64), 0)

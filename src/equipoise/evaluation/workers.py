"""Folds side by side in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from equipoise.evaluation.fold import FoldResult, Study, run_fold
from equipoise.evaluation.splits import Split

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_folds(study: Study, splits: Sequence[Split], *, jobs: int = 1) -> Iterator[FoldResult]:
    """The results of all splits, in their order, as they are done.

    With several jobs each process holds a copy of the study. Processes are started fresh, not forked, so
    threads of the caller do no harm; a script that asks for several jobs needs the usual
    ``if __name__ == "__main__":``.
    """
    jobs = min(jobs, len(splits))
    if jobs <= 1:
        for split in splits:
            yield run_fold(study, split)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_Worker.start, initargs=(study,)
    ) as pool:
        with _one_thread_each():
            pending: list[Future[FoldResult]] = [pool.submit(_Worker.run, split) for split in splits]
        try:
            for future in pending:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Worker:
    """The one study of a worker process."""

    _study: Study

    @classmethod
    def start(cls, study: Study) -> None:
        cls._study = study

    @classmethod
    def run(cls, split: Split) -> FoldResult:
        return run_fold(cls._study, split)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile use one thread for linear algebra: they share the cores already."""
    environment = os.environ  # noqa: TID251 - child processes take it from there, and nothing is read for configuration
    before = {name: environment.get(name) for name in _THREADS}
    environment.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del environment[name]
            else:
                environment[name] = value

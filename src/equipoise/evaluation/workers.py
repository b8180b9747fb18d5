"""Folds side by side in processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.reduction import ForkingPickler
from threading import Thread, current_thread, main_thread

from equipoise.errors import EquipoiseError
from equipoise.evaluation.fold import FoldResult, Study, run_fold
from equipoise.evaluation.splits import Split

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_folds(study: Study, splits: Sequence[Split], *, jobs: int = 1) -> Iterator[FoldResult]:
    """The results of all splits, in their order, as they are done.

    With several jobs each process holds a copy of the study. Processes are started fresh, not forked, so
    threads of the caller do no harm; a script that asks for several jobs needs the usual
    ``if __name__ == "__main__":``. They end at once when the caller is interrupted.

    Raises:
        EquipoiseError: a process was killed, or could not start.
    """
    jobs = min(jobs, len(splits))
    if jobs <= 1:
        for split in splits:
            yield run_fold(study, split)
        return
    others, context = set(active_children()), get_context("spawn")
    # Not among what a process is started with: one that ended before it had read that would be waited for in vain.
    studies: Queue[bytes] = context.Queue()
    studies.cancel_join_thread()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_Worker.start, initargs=(studies,))
    done = False
    try:
        with _one_thread_each(), _interrupts_held():
            pending: list[Future[FoldResult]] = [pool.submit(_Worker.run, split) for split in splits]
        _hand_out(study, studies, jobs)
        for future in pending:
            yield future.result()
        done = True
    except BrokenProcessPool:
        why = "killed for its memory, or started by a script without `if __name__ == '__main__':`"
        raise EquipoiseError(f"a worker process ended early, most likely {why}; use fewer jobs") from None
    finally:
        if not done:
            for child in set(active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _hand_out(study: Study, studies: Queue[bytes], jobs: int) -> None:
    """One copy for each process, which a thread of the queue sends."""
    given = bytes(ForkingPickler.dumps(study))  # here, where it is heard of one that no process can be sent
    for _ in range(jobs):
        studies.put(given)


class _Worker:
    """The one study of a worker process."""

    _study: Study

    @classmethod
    def start(cls, studies: Queue[bytes]) -> None:
        Thread(target=_end_with_caller, daemon=True).start()
        cls._study = ForkingPickler.loads(studies.get())

    @classmethod
    def run(cls, split: Split) -> FoldResult:
        return run_fold(cls._study, split)


def _end_with_caller() -> None:
    """A caller that is killed cannot stop its processes; waiting for its next split they would stay for good."""
    caller = parent_process()
    assert caller is not None
    caller.join()
    os._exit(1)


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


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """An interrupt or SIGTERM meanwhile comes at the end. Processes started meanwhile never see an interrupt: they
    leave it to the caller.

    A process that is half started when its start is interrupted would be nobody's.
    """
    came: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in held}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])

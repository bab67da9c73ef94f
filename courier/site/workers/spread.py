"""Giving tasks to workers, a few for each at a time, and judging how the workers themselves ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, UnreachableError
from courier.site.workers.executor import how_many
from courier.site.workers.work_place import Failure

A_WORKER, AT_LEAST = 4, 16
"""Tasks that are given out and not done: so many for each worker, and at least so many in all."""
MOST_ITEMS = 150_000
"""Items of the tasks that are given out and not done, however many tasks those are: they are in memory meanwhile."""
LOOK_SECONDS = 20.0
"""How long nothing is done before it is looked whether there are workers at all."""

_LOSSES = {
    "BrokenProcessPool",
    "KilledWorker",
    "FutureCancelledError",
    "FuturesCancelledError",
    "CommClosedError",
    "ClosedClientError",
}
"""Names of the errors of executors, which are not imported for it."""

_About = TypeVar("_About")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Generic[_About]):
    """A piece of work: a function of a module and its arguments, and what it is about to whoever gives it.

    ``items``: how many members or contents its arguments name.
    """

    about: _About
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    items: int = 1


def spread(executor: Executor, tasks: Iterable[Task[_About]]) -> Iterator[tuple[_About, Any]]:
    """Have tasks done; yield what each is about and what it gave, as they end.

    ``tasks`` are asked for as there is room for them, so that there may be very many. Raises what a worker raised, and
    `UnreachableError` where the workers themselves were lost. Those that are not begun then are given up.
    """
    every = iter(tasks)
    room = max(AT_LEAST, A_WORKER * _workers(executor))
    given: dict[Future[Any], Task[_About]] = {}
    items = 0
    try:
        while True:
            while len(given) < room and items < MOST_ITEMS and (task := next(every, None)) is not None:
                given[_submitted(executor, task)] = task
                items += task.items
            if not given:
                return
            for future in _done(executor, given):
                task = given.pop(future)
                items -= task.items
                yield task.about, _outcome(future)
    finally:
        for future in given:
            future.cancel()


def _workers(executor: Executor) -> int:
    try:
        return how_many(executor)
    except Exception as error:
        raise _lost(error) from None


def _submitted(executor: Executor, task: Task[Any]) -> Future[Any]:
    try:
        return executor.submit(task.function, *task.arguments)
    except Exception as error:
        # A broken pool, or a client whose scheduler is gone, takes no more.
        if _is_loss(error) or type(error) is RuntimeError:
            raise _lost(error) from None
        raise


def _done(executor: Executor, given: Iterable[Future[Any]]) -> set[Future[Any]]:
    """Those of the tasks that ended; waits for one. Raises `UnreachableError` when nobody is left to end one."""
    while True:
        done = wait(given, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done
        if done:
            return done
        if not _workers(executor):
            raise _lost(RuntimeError("no worker is left"))


def _outcome(future: Future[Any]) -> Any:
    try:
        outcome = future.result()
    except (ImportError, AttributeError) as error:
        raise RefusedError(
            f"a worker does not know the task: {str(error)[:160]}",
            hint="install the same release of courier-parcels for all workers, and start them again",
            code=Code.CLUSTER,
        ) from None
    except CourierError:
        raise
    except BaseException as error:
        if _is_loss(error):
            raise _lost(error) from None
        raise
    if isinstance(outcome, Failure):
        raise outcome.error()
    return outcome


def _is_loss(error: BaseException) -> bool:
    """Whether an error is one of the executor: a worker that was killed, or a scheduler that is gone."""
    if isinstance(error, CancelledError):
        return True
    return type(error).__name__ in _LOSSES


def _lost(error: BaseException) -> UnreachableError:
    why = str(error) if type(error) is RuntimeError else type(error).__name__
    return UnreachableError(
        f"the workers were lost: {why[:160]}",
        hint="start them again and give the same command: nothing but time is lost; or give it without --cluster",
        code=Code.CLUSTER,
    )

"""Concurrency without threads: each task is a greenlet that gives way at its calls; one chooser decides who goes on.

Nothing runs between two choices except the chosen task, from one call to its next. Time moves only when every task
waits for it or when the world moves it, so a run is a pure function of the choices.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import greenlet

from tests.simulation.determinism import VirtualTime


class Crash(BaseException):
    """The process is gone between two instructions. No ``except Exception`` of ours may see it."""


class TimedOut(Crash):
    """Lambda killed the invocation at its time limit."""


class Chooser(Protocol):
    """Picks one of ``count`` options."""

    def __call__(self, count: int, /) -> int: ...


class Event:
    """Something a task can wait for, once."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True


class Task:
    """One line of execution: a Lambda invocation, a workflow branch, an actor's errand."""

    def __init__(self, scheduler: Scheduler, number: int, name: str, body: Callable[[], Any]) -> None:
        self.name, self.number = name, number
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.deadline: float | None = None
        self.on_done: Callable[[Task], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self.pending: Any = None
        """The call this task is about to make, as far as it is known."""
        self._wake_at: float | None = None
        self._event: Event | None = None
        self._kill: BaseException | None = None
        self._scheduler = scheduler
        self._greenlet = greenlet.greenlet(lambda: self._run(body))

    def _run(self, body: Callable[[], Any]) -> None:
        try:
            self.result = body()
        except greenlet.GreenletExit:
            raise
        except BaseException as error:
            self.error = error

    def runnable(self, now: float) -> bool:
        """Ready to go on: neither waiting for time nor for an event, or what it waited for has come."""
        if self._kill is not None or (self.deadline is not None and now >= self.deadline):
            return True
        if self._event is not None and self._event.is_set:
            return True
        if self._wake_at is not None:
            return now >= self._wake_at
        return self._event is None

    def wake_time(self) -> float | None:
        """When time alone makes this task runnable."""
        moments = [moment for moment in (self._wake_at, self.deadline) if moment is not None]
        return min(moments) if moments else None

    def kill(self, error: BaseException) -> None:
        """Let the task meet ``error`` when it is chosen next."""
        self._kill = error


class Scheduler:
    """Owns the tasks of one run."""

    def __init__(self, clock: VirtualTime | None = None) -> None:
        self.clock: VirtualTime = clock  # type: ignore[assignment]
        self.tasks: list[Task] = []
        self.switches = 0
        self.current: Task | None = None
        """The task that is running, or None in the hub."""
        self._count = 0
        self._hub = greenlet.getcurrent()

    # ---- from inside a task --------------------------------------------------------------------------------------

    def give_way(self, pending: Any = None) -> None:
        """Let others run before going on."""
        self._park(pending, None, None)

    def sleep(self, seconds: float) -> None:
        """Virtual sleep; in the hub it simply moves the time."""
        if self.current is None:
            self.clock.advance(seconds)
        else:
            self._park("sleep", self.clock.now + seconds, None)

    def wait(self, event: Event, seconds: float | None = None) -> bool:
        """Wait until the event is set; False when ``seconds`` passed first."""
        if not event.is_set:
            self._park("wait", None if seconds is None else self.clock.now + seconds, event)
        return event.is_set

    def _park(self, pending: Any, wake_at: float | None, event: Event | None) -> None:
        task = self.current
        if task is None:
            return
        task.pending, task._event = pending, event
        task._wake_at = None if wake_at is None else round(wake_at, 6)
        self._hub.switch()
        task.pending = task._wake_at = task._event = None
        if task._kill is not None:
            error, task._kill = task._kill, None
            raise error
        if task.deadline is not None and self.clock.now >= task.deadline:
            raise TimedOut(task.name)

    # ---- from the hub --------------------------------------------------------------------------------------------

    def spawn(
        self,
        name: str,
        body: Callable[[], Any],
        *,
        limit: float | None = None,
        on_done: Callable[[Task], None] | None = None,
    ) -> Task:
        """Add a task. ``limit`` is its time limit in seconds, ``on_done`` runs in the hub once it has ended."""
        self._count += 1
        task = Task(self, self._count, name, body)
        task.on_done = on_done
        if limit is not None:
            task.deadline = round(self.clock.now + limit, 6)
        self.tasks.append(task)
        return task

    def runnable(self) -> list[Task]:
        """The tasks that can go on now, oldest first."""
        now = self.clock.now
        return [task for task in self.tasks if task.runnable(now)]

    def tasks_of_interest(self) -> list[Task]:
        """Tasks that will go on by themselves soon: all but those that wait for an event for a day and more."""
        horizon = self.clock.now + 3600.0
        return [task for task in self.tasks if task.runnable(horizon)]

    def resume(self, task: Task) -> None:
        """Run one task up to its next call or its end."""
        self.switches += 1
        self._hub = greenlet.getcurrent()
        self.current = task
        if task.on_resume:
            task.on_resume()
        # A task may have been made inside another one; when it ends, control comes back here all the same.
        task._greenlet.parent = self._hub
        task._greenlet.switch()
        self.current = None
        if task._greenlet.dead:
            self.tasks.remove(task)
            task.done.set()
            if task.on_done:
                task.on_done(task)

    def next_wake(self) -> float | None:
        """When time alone makes the next task runnable."""
        moments = [moment for task in self.tasks if (moment := task.wake_time()) is not None]
        return min(moments) if moments else None

    def run(
        self, choose: Chooser, *, until: Callable[[], bool] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        """Run until all tasks have ended (or ``until`` holds), moving time only when nobody else can go on."""
        while self.tasks and not (until and until()):
            ready = self.runnable()
            if ready:
                self.resume(ready[choose(len(ready)) if len(ready) > 1 else 0])
                if after:
                    after()
                continue
            moment = self.next_wake()
            if moment is None:
                names = ", ".join(f"{task.name} ({task.pending})" for task in self.tasks)
                raise RuntimeError(f"nothing can go on: {names}")
            self.clock.advance_to(moment)

    def abandon(self) -> None:
        """Drop what still runs, at the end of a run."""
        for task in self.tasks:
            if not task._greenlet.dead:
                task._greenlet.throw()
        self.tasks.clear()


def random_chooser(rng: random.Random) -> Chooser:
    """Every option is equally likely."""
    return rng.randrange


class Script:
    """A chooser for exhaustive search: follows a prefix of choices, then always takes the first, noting the widths."""

    def __init__(self, prefix: tuple[int, ...] = ()) -> None:
        self.prefix = prefix
        self.taken: list[int] = []
        self.widths: list[int] = []

    def __call__(self, count: int, /) -> int:
        position = len(self.taken)
        choice = self.prefix[position] if position < len(self.prefix) else 0
        self.taken.append(choice)
        self.widths.append(count)
        return choice

    def successors(self) -> list[tuple[int, ...]]:
        """The prefixes that this run makes known: every other choice after the prescribed part."""
        return [
            (*self.taken[:position], choice)
            for position in range(len(self.prefix), len(self.taken))
            for choice in range(1, self.widths[position])
        ]

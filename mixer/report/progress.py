"""The progress of a build: a live view on a terminal, lines from time to time elsewhere; all on stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from mixer.report.console import SECONDS_BETWEEN_LINES, err_console, say
from mixer.report.numbers import counted, duration, num_bytes, percent, short

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from mixer.building.ledger import Progress
    from mixer.plan.plan import Plan

_MOST_SOURCES, _BAR_WIDTH = 12, 40


class BuildProgress:
    """Shows a build's progress; a context manager, so that a failing build leaves a clean terminal.

    No thread draws: `build` forks its workers between two calls, and a thread would not survive that.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._console = None if quiet else err_console()
        self._live: Live | None = None
        self._names: list[str] = []
        self._total_tokens = 0.0
        self._start_seconds = self._last_line = clock()
        self._base_tokens = self._base_bytes = 0
        self._said = self._newest = ""
        self._said_bypassed = False

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._newest != self._said:
            say(self._newest)

    def on_plan(self, plan: Plan) -> None:
        """Print the plan of the build."""
        self._names = plan.source_names
        self._total_tokens = plan.expected_tokens
        self._start_seconds = self._last_line = self._clock()
        if not self._quiet:
            say(
                f"{plan.recipe.name}: {counted(len(self._names), 'source')}, about {short(self._total_tokens)} tokens"
                f"{_error_in_words(plan)} in {counted(plan.estimated_tasks, 'task')}"
            )
            for name, snapshot in zip(self._names, plan.snapshots):
                if snapshot.note is not None:
                    say(f"{name}: {snapshot.note}")

    def on_progress(self, progress: Progress) -> None:
        """Count a finished task."""
        if progress.num_resumed and not self._base_tokens:
            # How many of these tokens are from an earlier run is not told, so speed counts from here on.
            self._base_tokens, self._base_bytes = progress.num_tokens, _text_bytes(progress)
            self._start_seconds = self._clock()
        if self._console is None:
            return
        self._newest = self.line(progress)
        if progress.traffic.get("cache_bypassed") and not self._said_bypassed:
            self._said_bypassed = True
            say(
                "the cache cannot be written to: blocks of remote files go through temporary files and are fetched "
                "again when needed; make room, or set cache: {dir, size} in the recipe"
            )
        if self._console.is_terminal:
            self._draw(progress)
        elif self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            self._said = self._newest
            say(self._newest)

    def line(self, progress: Progress) -> str:
        """The progress in one line."""
        # The task in which the build ends is made whole first, and then again up to there.
        tokens = min(progress.num_tokens, self._total_tokens)
        done = tokens / self._total_tokens if self._total_tokens else 1.0
        parts = [percent(done), f"{short(tokens)} of {short(self._total_tokens)} tokens"]
        seconds = self._clock() - self._start_seconds
        new_tokens = progress.num_tokens - self._base_tokens
        if new_tokens > 0 and seconds > 0:
            parts.append(f"{short(new_tokens / seconds)} tokens/s")
            parts.append(f"{num_bytes((_text_bytes(progress) - self._base_bytes) / seconds)}/s of text")
            left = (self._total_tokens - tokens) * seconds / new_tokens
            parts.append(f"{duration(left)} left" if left else f"in {duration(seconds)}")
        if progress.num_resumed:
            parts.append(f"{counted(progress.num_resumed, 'task')} from before")
        return " · ".join(parts)

    def _draw(self, progress: Progress) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True
            )
            self._live.start()
        self._live.update(self._view(progress), refresh=True)

    def _view(self, progress: Progress) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        shares = Table.grid(padding=(0, 1))
        whole = max(1, progress.num_tokens)
        ordered = sorted(zip(self._names, progress.sources), key=lambda pair: -pair[1].tokens)
        for name, counts in ordered[:_MOST_SOURCES]:
            share = counts.tokens / whole
            shares.add_row(Text(name), Text(percent(share), justify="right"), Text("█" * round(_BAR_WIDTH * share)))
        if len(ordered) > _MOST_SOURCES:
            shares.add_row(Text(f"and {len(ordered) - _MOST_SOURCES} more"))
        whole_bar = Table.grid(expand=True)
        whole_bar.add_row(ProgressBar(total=max(1.0, self._total_tokens), completed=progress.num_tokens))
        return Group(whole_bar, Text(self._newest, no_wrap=True, overflow="ellipsis"), shares)


def _error_in_words(plan: Plan) -> str:
    """The error of the number of tokens; empty if the target is in tokens."""
    if plan.extent.end_tokens is not None or plan.extent.end_sequences is not None:
        return ""
    counts = plan.schedule.counts(plan.extent.estimated_draws).tolist()
    error = math.hypot(*(count * one for count, one in zip(counts, plan.standard_errors, strict=True)))
    return f" (± {percent(2 * error / plan.expected_tokens)})" if error else ""


def _text_bytes(progress: Progress) -> int:
    return sum(counts.text_bytes for counts in progress.sources)

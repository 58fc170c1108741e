"""The progress of a fetch, and the outcome of all files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mixer.report.console import SECONDS_BETWEEN_LINES, say
from mixer.report.numbers import counted, duration, exact, num_bytes, short

if TYPE_CHECKING:
    from mixer.stack.fetch import Listener
    from mixer.stack.fetch_plan import FetchPlan

_REASONS = {
    "language": "of another language",
    "license_type": "of another licence type",
    "vendored": "vendored",
    "generated": "generated",
    "too_small": "too small",
    "too_large": "too large",
    "too_many_tokens": "with too few bytes a token",
}
_DECODED = {
    "unknown_encoding": "named an encoding that is not known",
    "wrong_encoding": "are not in the encoding that they name",
}


class FetchProgress:
    """Prints the progress of a fetch on stderr from time to time.

    Args:
        quiet: say nothing.
        about: what goes before each line.
        clock: seconds that only go forward.
    """

    def __init__(self, *, quiet: bool, about: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._about = about
        self._clock = clock
        self._start = self._last_line = clock()
        self._num_chunks = self._done = self._from_before = self._num_files = self._text_bytes = 0

    def on_plan(self, plan: FetchPlan, num_chunks: int) -> None:
        """Print the plan of the fetch."""
        self._num_chunks = num_chunks
        self._start = self._last_line = self._clock()
        if not self._quiet:
            rows = sum(file.num_rows for file in plan.files)
            mine = "" if num_chunks == len(plan.chunks) else f", {exact(num_chunks)} of them here"
            chunks = counted(len(plan.chunks), "chunk")
            say(f"{self._about}{rows:,} repositories in {counted(len(plan.files), 'file')}, fetched in {chunks}{mine}")

    def on_files(self, num_files: int, text_bytes: int) -> None:
        """Count files that were read."""
        self._num_files += num_files
        self._text_bytes += text_bytes
        if not self._quiet and self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            say(self._about + self.line())

    def on_chunk(self, record: dict[str, Any], was_finished: bool) -> None:
        """Count a finished chunk."""
        self._done += 1
        self._from_before += was_finished

    def line(self) -> str:
        """The progress in one line."""
        seconds = max(self._clock() - self._start, 1e-9)
        parts = [
            f"{exact(self._done)} of {counted(self._num_chunks, 'chunk')}",
            f"{short(self._num_files)} files",
            f"{short(self._num_files / seconds)} files/s",
            f"{num_bytes(self._text_bytes / seconds)}/s of text",
        ]
        if self._from_before:
            parts.append(f"{counted(self._from_before, 'chunk')} from before")
        new, left = self._done - self._from_before, self._num_chunks - self._done
        if new and left:
            parts.append(f"{duration(left * seconds / new)} left")
        return " · ".join(parts)


def listen(*, quiet: bool, about: str = "") -> Listener:
    """A listener that prints a fetch's progress on stderr."""
    from mixer.stack.fetch import Listener

    progress = FetchProgress(quiet=quiet, about=about)
    return Listener(on_plan=progress.on_plan, on_files=progress.on_files, on_chunk=progress.on_chunk)


def report_in_words(report: dict[str, Any]) -> Iterator[str]:
    """The outcome of all repositories and files, in lines."""
    totals, chunks = report["totals"], report["chunks"]
    yield (
        f"{counted(totals['files_written'], 'file')} of {exact(totals['files_read'])}, "
        f"{exact(totals['repositories_written'])} repositories of {exact(totals['repositories_read'])}: "
        f"{num_bytes(totals['text_bytes'])} of text in {num_bytes(report['bytes'])} of parquet"
    )
    for reason, count in totals["left_out"].items():
        yield f"{counted(count, 'file')} {_REASONS[reason]}"
    for kind in ("missing", "damaged"):
        if count := totals[f"files_{kind}"]:
            yield f"{counted(count, 'file')} {kind}"
    if count := totals["repositories_dropped"]:
        yield f"{exact(count)} repositories dropped for them"
    if count := totals["repositories_too_large"]:
        yield f"{exact(count)} repositories with more text than a row may have"
    if count := totals["files_dropped"]:
        yield f"{counted(count, 'more file')} of these repositories"
    if count := totals["repositories_emptied"]:
        yield f"{exact(count)} repositories without a file that is left"
    for how, words in _DECODED.items():
        if count := totals["decoded"].get(how):
            yield f"{counted(count, 'file')} {words}: read as UTF-8, with replacement characters"
    retries = sum(count for name, count in report["traffic"].items() if name.startswith("retries_"))
    if retries:
        yield f"{exact(int(retries))} requests of {exact(int(report['traffic']['requests']))} tried again"
    if not report["whole"]:
        yield f"{exact(chunks['finished'])} of {counted(chunks['all'], 'chunk')} finished"

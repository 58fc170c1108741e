"""Processes that fetch chunks side by side.

Each is a fresh process and no fork: the client's threads would not survive one. They end when their parent is gone,
since there is nobody left to tell.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mixer.errors import MixerError, TaskError
from mixer.stack.blobs import Origin
from mixer.stack.fetch_folder import FetchFolder
from mixer.stack.fetch_plan import Chunk, FetchPlan


def fetch_chunks(
    plan: FetchPlan,
    chunks: Sequence[Chunk],
    out: Path,
    origin: Origin,
    *,
    workers: int,
    connections: int,
    on_files: Callable[[int, int], None],
    on_chunk: Callable[[dict[str, Any], bool], None],
) -> None:
    """Fetch chunks; those that are finished are checked and left as they are.

    Args:
        plan: the fetch.
        chunks: which of its chunks.
        out: the folder.
        origin: where the blobs are.
        workers: processes.
        connections: blobs that are on their way at once, over all of them.
        on_files: told of files read and bytes of text, as they come.
        on_chunk: told of each finished chunk, and whether it was finished before.

    Raises:
        MixerError: what the first chunk that failed raised, or a worker died.
    """
    workers = min(workers, len(chunks))
    left = list(reversed(chunks))
    pool = [_Worker(plan, out, origin, max(1, connections // workers)) for _ in range(workers)]
    try:
        for worker in pool:
            worker.start(left.pop())
        while busy := {worker.pipe: worker for worker in pool if worker.chunk is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                match worker.hear():
                    case ("files", num_files, num_bytes):
                        on_files(num_files, num_bytes)
                    case ("chunk", record, was_finished):
                        on_chunk(record, was_finished)
                        worker.start(left.pop() if left else None)
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """A process, the pipe to it, and the chunk that it fetches."""

    def __init__(self, plan: FetchPlan, out: Path, origin: Origin, connections: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.chunk: Chunk | None = None
        self._process = context.Process(target=_serve, args=(theirs, plan, out, origin, connections), daemon=True)
        self._process.start()
        theirs.close()

    def start(self, chunk: Chunk | None) -> None:
        """Give it a chunk; None: there is none left."""
        self.chunk = chunk
        if chunk is not None:
            try:
                self.pipe.send(chunk.number)
            except ConnectionError as error:
                raise self._died() from error

    def hear(self) -> tuple[Any, ...]:
        """What it has to say.

        Raises:
            MixerError: its chunk failed, or it died.
        """
        try:
            said = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(said, BaseException):
            raise said
        return said

    def _died(self) -> TaskError:
        self._process.join()
        assert self.chunk is not None
        return TaskError(
            f"the process that fetched it died (exit code {self._process.exitcode})",
            where=self.chunk.name,
            hint="it may have run out of memory: use fewer --workers; or, if a script of yours called mixer, put the "
            'call under `if __name__ == "__main__":`; the same command goes on where it was',
        )

    def stop(self) -> None:
        """End the process; what it is doing is thrown away."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, plan: FetchPlan, out: Path, origin: Origin, connections: int) -> None:
    """A worker's life."""
    from mixer.stack.chunk import ChunkFetcher

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is the parent's to answer
    folder = FetchFolder(out, plan)
    try:
        fetcher = ChunkFetcher(plan, origin, connections)
        while True:
            chunk = plan.chunks[pipe.recv()]
            record = folder.finished(chunk)
            was_finished = record is not None
            if record is None:
                record = fetcher.run(chunk, folder.path(chunk), lambda *more: pipe.send(("files", *more)))
                folder.keep(chunk, record)
            pipe.send(("chunk", record, was_finished))
    except (EOFError, BrokenPipeError):
        return
    except (MixerError, OSError, MemoryError) as error:
        pipe.send(error)
    except Exception as error:
        # Tracebacks do not travel between processes.
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}"))

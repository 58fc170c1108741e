"""The console script `mixer`: the verbs, and how errors are reported."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Annotated, NoReturn

import typer

from mixer import __version__
from mixer.cli.attach import attach
from mixer.cli.build import build
from mixer.cli.cache import cache_app
from mixer.cli.curate import curate
from mixer.cli.export import export
from mixer.cli.fetch import fetch
from mixer.cli.head import head
from mixer.cli.init import init
from mixer.cli.inspect import inspect
from mixer.cli.plan import plan
from mixer.cli.repair import repair
from mixer.cli.sample import sample
from mixer.cli.schema import schema
from mixer.cli.show import show
from mixer.cli.status import status
from mixer.cli.trace import trace
from mixer.cli.verify import verify
from mixer.errors import MixerError, UsageError, error_as_json
from mixer.extras import extra_with, missing_package
from mixer.report.console import visible


class Interrupted(MixerError):
    """The user stopped mixer with ^C."""

    exit_code = 130


class _WithoutPandas(MetaPathFinder):
    """Hides pandas: pyarrow imports it, wherever it is installed, to recognise its objects, and no verb has any.

    That import is 0.3 s of every build.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Refuse pandas; leave all other modules to the other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("not used by mixer's command line", name="pandas")


class Bug(MixerError):
    """An error that mixer did not foresee."""

    exit_code = 3


# Rich help would cost more than all the rest of `mixer --help`.
RESUMABLE = ("fetch", "curate", "build", "repair", "export")
"""Verbs that resume when they are run again."""

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    init,
    head,
    sample,
    fetch,
    attach,
    curate,
    plan,
    build,
    status,
    inspect,
    verify,
    repair,
    show,
    trace,
    export,
    schema,
):
    app.command()(verb)
app.add_typer(cache_app, name="cache")


def _version(asked: bool) -> None:
    if asked:
        print(f"mixer {__version__}")
        raise typer.Exit


@app.callback()
def _mixer(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Decide, build and feed the data mixture of a language model."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 1 failed, 2 wrong usage or recipe, 3 bug, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called us, as `>&-` does
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    # Slurm's and Kubernetes' way to say ^C. ^C itself stays ignored where a shell started a job in its background so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale
    sys.meta_path.insert(0, _WithoutPandas())
    # Arrow's allocator keeps the pages of freed buffers, read when pyarrow is loaded: fresh ones cost more than a copy.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "-1")
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code. Errors go to stderr, with `--json` as one JSON line."""
    as_json, details = "--json" in arguments, {}
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="mixer", standalone_mode=False)
        sys.stdout.flush()
        if code == Interrupted.exit_code:  # which Typer makes of ^C
            raise KeyboardInterrupt
        return code or 0
    except (KeyboardInterrupt, typer.Abort):
        goes_on = "run the same command again to resume" if arguments[0] in RESUMABLE else None
        error: MixerError = Interrupted("interrupted", hint=goes_on)
    except BrokenPipeError:
        # Who read stdout has gone, as `head` does; what is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as cause:
        error = as_mixer_error(cause)
        if isinstance(error, Bug) and as_json:
            details = {"traceback": "".join(traceback.format_exception(cause))}
        elif isinstance(error, Bug):
            traceback.print_exception(cause)
    print(error_as_json(error, **details) if as_json else f"error: {visible(str(error))}", file=sys.stderr)
    return error.exit_code


def as_mixer_error(error: Exception) -> MixerError:
    """The error as one that the user can act on, or as a bug."""
    if isinstance(error, MixerError):
        return error
    if hasattr(error, "format_message"):  # wrong usage: Typer's own class, in its older versions Click's
        context = getattr(error, "ctx", None)
        return UsageError(error.format_message(), hint=f"see `{context.command_path if context else 'mixer'} --help`")
    if isinstance(error, OSError) and error.strerror:
        return MixerError(error.strerror, where=None if error.filename is None else str(error.filename))
    if isinstance(error, ImportError) and (extra := extra_with(error.name or "")):
        return missing_package(error, extra, "this")
    if isinstance(error, MemoryError):
        return MixerError("out of memory", hint="use fewer --workers, or a smaller task_tokens in the recipe")
    return Bug(
        f"bug in mixer: {type(error).__name__}: {error}",
        hint="please report it, with the traceback and the command, where you got mixer from",
    )


if __name__ == "__main__":
    main()

"""One fault a test: the error, what is left on disk, and that the same command then goes on to the same bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from disk_kit import failing
from manifest_kit import counts_of, passes
from workshop import Workshop, contents

from mixer.building import jobs
from mixer.building.ledger import Progress
from mixer.building.task import TaskRunner
from mixer.errors import BuildStateError, DataError, IntegrityError, MixerError, RecipeError, TaskError, UsageError
from mixer.shards.manifest import load_manifest
from mixer.verify.shards import find_damage


class StoppedError(Exception):
    """Ends a build from its progress callback, as ^C would."""


def stop_after(num_tasks: int) -> Any:
    def on_progress(progress: Progress) -> None:
        if progress.num_tasks >= num_tasks:
            raise StoppedError

    return on_progress


def flip(path: Path, place: int = 2000) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def without_log(folder: Path) -> dict[str, str]:
    return {
        path: digest for path, digest in contents(folder).items() if path not in ("build-log.json", "evidence.json")
    }


def tree(folder: Path) -> dict[str, int]:
    """Every file and folder with its time of writing."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def stopped(workshop: Workshop, tmp_path: Path) -> Path:
    """The folder of a build that was stopped after its third task."""
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        workshop.build(out, workshop.recipe(), on_progress=stop_after(3))
    assert not (out / "manifest.json").exists()
    return out


def test_a_second_build_into_one_folder_is_refused_while_the_first_goes_on(
    workshop: Workshop, finished: Path, tmp_path: Path
) -> None:
    """The second says so; the first ends as if there had been none."""
    refusals = []

    def second(progress: Progress) -> None:
        with pytest.raises(BuildStateError) as caught:
            workshop.build(tmp_path / "out", workshop.recipe())
        refusals.append(str(caught.value))

    workshop.build(tmp_path / "out", workshop.recipe(), on_progress=second)
    assert refusals[0].startswith(f"{tmp_path}/out: another build is running in this folder\n  hint: ")
    assert without_log(tmp_path / "out") == without_log(finished)


def test_a_folder_locked_by_another_process_is_left_alone(workshop: Workshop, stopped: Path) -> None:
    """Not even a file is cleaned away."""
    before = contents(stopped)
    with (stopped / ".mixer/lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BuildStateError, match="another build is running"):
            workshop.build(stopped, workshop.recipe())
    assert contents(stopped) == before


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"seed": 2}, r"recipe\.seed"),
        ({"target": {"tokens": 29_000}}, r"recipe\.target\.tokens"),
        ({"sequence": {"packing": "best-fit"}}, r"recipe\.sequence\.packing"),
    ],
)
def test_the_folder_of_another_plan_is_refused_and_untouched(
    workshop: Workshop, copy_of_finished: Path, changes: dict[str, Any], differs: str
) -> None:
    """It says in what the plans differ; finished builds are not written to."""
    before = tree(copy_of_finished)
    with pytest.raises(BuildStateError, match=f"holds another plan's build; it differs in .*{differs}"):
        workshop.build(copy_of_finished, workshop.recipe(**changes))
    assert tree(copy_of_finished).keys() == before.keys()
    assert contents(copy_of_finished).keys() == {path for path in before if (copy_of_finished / path).is_file()}
    assert list(find_damage(copy_of_finished, load_manifest(copy_of_finished))) == []


def test_changed_data_are_another_plan(workshop: Workshop, stopped: Path, tmp_path: Path) -> None:
    """A build is not continued with other rows; the source is named."""
    root = Path(shutil.copytree(workshop.root, tmp_path / "data"))
    (root / "books/0.json.gz").unlink()
    with pytest.raises(BuildStateError, match=r"differs in sources"):
        workshop.build(stopped, workshop.recipe(), root=root)


@pytest.mark.parametrize(
    "name", ["notes.txt", "shards/mine.arrow", "shards/00000.arrow", "snapshots/mine.json", ".mixer/x"]
)
def test_a_folder_with_foreign_files_is_refused_and_untouched(workshop: Workshop, tmp_path: Path, name: str) -> None:
    """Nothing of the user's is mixed up with a build or deleted."""
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    if name == ".mixer/x":
        (out / "also.txt").write_text("mine")
    before = tree(out)
    with pytest.raises(BuildStateError, match="the folder is not empty and holds no build of mixer"):
        workshop.build(out, workshop.recipe())
    assert tree(out) == before


def test_a_file_in_place_of_the_folder_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    """And is still there."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BuildStateError, match="not a folder"):
        workshop.build(tmp_path / "out", workshop.recipe())
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_is_taken(workshop: Workshop, finished: Path, tmp_path: Path) -> None:
    """`mkdir` before the build does no harm."""
    (tmp_path / "out").mkdir()
    workshop.build(tmp_path / "out", workshop.recipe())
    assert without_log(tmp_path / "out") == without_log(finished)


def test_a_stopped_build_goes_on_where_it_was(workshop: Workshop, finished: Path, stopped: Path) -> None:
    """Finished tasks are not made again, and the end is the same."""
    kept = (stopped / "shards/00000.arrow").stat().st_mtime_ns
    workshop.build(stopped, workshop.recipe())
    assert (stopped / "shards/00000.arrow").stat().st_mtime_ns == kept
    assert without_log(stopped) == without_log(finished)


@pytest.mark.parametrize("fault", ["flipped", "cut", "deleted", "record cut", "record deleted", "record of another"])
def test_a_damaged_shard_of_a_stopped_build_is_made_again(
    workshop: Workshop, finished: Path, stopped: Path, fault: str
) -> None:
    """Nothing on disk is believed without its digest."""
    shard, note = stopped / "shards/00001.arrow", stopped / "tasks/00001.json"
    if fault == "flipped":
        flip(shard)
    elif fault == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif fault == "deleted":
        shard.unlink()
    elif fault == "record cut":
        note.write_bytes(note.read_bytes()[:40])
    elif fault == "record deleted":
        note.unlink()
    else:
        shutil.copy(stopped / "tasks/00000.json", note)
    workshop.build(stopped, workshop.recipe())
    assert without_log(stopped) == without_log(finished)


def test_what_a_crash_leaves_over_is_cleaned_away(workshop: Workshop, finished: Path, stopped: Path) -> None:
    """Temporary files of every kind, and shards after the build's end."""
    for name in ("shards/.00007.arrow.99.tmp", "tasks/.00007.json.99.tmp", ".plan.json.99.tmp", "snapshots/.x.tmp",
                 ".manifest.json.99.tmp", ".README.md.99.tmp", ".build-log.json.99.tmp"):  # fmt: skip
        (stopped / name).write_bytes(b"half")
    shutil.copy(stopped / "shards/00000.arrow", stopped / "shards/00950.arrow")
    workshop.build(stopped, workshop.recipe())
    assert without_log(stopped) == without_log(finished)


def test_a_finished_build_is_left_as_it_is(workshop: Workshop, copy_of_finished: Path, tmp_path: Path) -> None:
    """Nothing is written but the copy of the manifest that was asked for; the id is the same."""
    before = load_manifest(copy_of_finished)
    times = {path: time for path, time in tree(copy_of_finished).items() if (copy_of_finished / path).is_file()}
    again = workshop.build(copy_of_finished, workshop.recipe(), copies=tmp_path / "copies")
    assert again == before
    after = {path: time for path, time in tree(copy_of_finished).items() if (copy_of_finished / path).is_file()}
    assert after == times
    copied = tmp_path / f"copies/tiny-{before.id[:12]}.json"
    assert copied.read_bytes() == (copy_of_finished / "manifest.json").read_bytes()


@pytest.mark.parametrize("fault", ["flipped", "deleted", "manifest edited", "manifest cut"])
def test_a_damaged_finished_build_is_reported_and_not_believed(
    workshop: Workshop, copy_of_finished: Path, fault: str
) -> None:
    """The file is named, and nothing is changed."""
    path = copy_of_finished / ("manifest.json" if "manifest" in fault else "shards/00001.arrow")
    if fault == "flipped":
        flip(path)
    elif fault == "deleted":
        path.unlink()
    elif fault == "manifest cut":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.write_text(path.read_text().replace('"tokens": ', '"tokens": 1', 1))
    before = contents(copy_of_finished)
    with pytest.raises(IntegrityError, match=re.escape(str(path))):
        workshop.build(copy_of_finished, workshop.recipe())
    assert contents(copy_of_finished) == before


def test_the_way_out_of_a_damaged_build_that_the_hint_names_works(
    workshop: Workshop, finished: Path, copy_of_finished: Path
) -> None:
    """Delete the damaged shard and the manifest, and build again."""
    (copy_of_finished / "shards/00001.arrow").unlink()
    (copy_of_finished / "manifest.json").unlink()
    workshop.build(copy_of_finished, workshop.recipe())
    assert without_log(copy_of_finished) == without_log(finished)


def test_a_full_disk_ends_the_build_and_leaves_no_half_shard(
    workshop: Workshop, finished: Path, tmp_path: Path
) -> None:
    """The error says so; with room again, the same command goes on."""
    out = tmp_path / "out"
    with (
        failing("write", errno.ENOSPC, "*/shards/00002.arrow"),
        pytest.raises(TaskError, match="cannot write: No space left on device"),
    ):
        workshop.build(out, workshop.recipe())
    assert sorted(path.name for path in (out / "shards").iterdir()) == ["00000.arrow", "00001.arrow"]
    workshop.build(out, workshop.recipe())
    assert without_log(out) == without_log(finished)


@pytest.mark.parametrize("name", ["README.md", "build-log.json", "manifest.json", "a copy", "plan.json"])
def test_a_full_disk_under_the_parent_is_an_error_that_says_so(
    workshop: Workshop, finished: Path, tmp_path: Path, name: str
) -> None:
    """The system's own words; with room again, the same command goes on."""
    out = tmp_path / "out"
    pattern = "*/copies/*" if name == "a copy" else f"*/{name}"
    with (
        failing("rename", errno.ENOSPC, pattern),
        pytest.raises((MixerError, OSError), match="No space left on device"),
    ):
        workshop.build(out, workshop.recipe(), copies=tmp_path / "copies")
    workshop.build(out, workshop.recipe(), copies=tmp_path / "copies")
    assert without_log(out) == without_log(finished)
    (copied,) = (tmp_path / "copies").iterdir()
    assert copied.read_bytes() == (out / "manifest.json").read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("named", [True, False])
def test_a_shard_that_does_not_reach_the_disk_ends_the_build(
    workshop: Workshop, finished: Path, tmp_path: Path, workers: int, named: bool
) -> None:
    """The disk fails while the worker is at its next task: no record says that the shard is there."""
    whole = jobs.sync_file

    def failing(path: Path) -> None:
        if path.name == "00002.arrow":
            raise OSError(errno.EIO, "Input/output error", *([str(path)] if named else []))
        whole(path)

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "sync_file", failing)
        with pytest.raises(TaskError, match="cannot write: Input/output error") as caught:
            workshop.build(out, workshop.recipe(), workers=workers)
    assert caught.value.where == str(out / "shards/00002.arrow")
    assert not (out / "tasks/00002.json").exists()
    assert not (out / "manifest.json").exists()
    workshop.build(out, workshop.recipe(), workers=workers)
    assert without_log(out) == without_log(finished)


STRANGERS = (
    "shards/notes.txt",
    "shards/1.arrow",
    "shards/000001.arrow",
    "shards/.hidden",
    "shards/more/00000.arrow",
    "tasks/00001.json.bak",
    "tasks/mine.json",
)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_foreign_file_among_shards_and_records_is_refused_before_any_work(
    workshop: Workshop, finished: Path, stopped: Path, name: str
) -> None:
    """Who reads the folder would read it too; nothing is planned or changed, and without it the build goes on."""
    (stopped / name).parent.mkdir(exist_ok=True)
    (stopped / name).write_text("mine")
    before = tree(stopped)
    with pytest.raises(BuildStateError, match="not a file of the build, but in the place of one") as caught:
        workshop.build(stopped, workshop.recipe(), on_plan=lambda plan: pytest.fail("it was planned"))
    assert caught.value.where == str(stopped / "/".join(Path(name).parts[:2]))
    assert tree(stopped) == before
    shutil.rmtree(stopped / "shards/more", ignore_errors=True)
    (stopped / name).unlink(missing_ok=True)
    workshop.build(stopped, workshop.recipe())
    assert without_log(stopped) == without_log(finished)


@pytest.mark.parametrize("name", ["shards/notes.txt", "tasks/notes.txt"])
def test_a_foreign_file_that_comes_during_the_build_is_reported(
    workshop: Workshop, finished: Path, tmp_path: Path, name: str
) -> None:
    """There is no manifest of a folder with such a file; without it the build goes on, and makes nothing again."""
    out = tmp_path / "out"
    with pytest.raises(BuildStateError, match="not a file of the build") as caught:
        workshop.build(out, workshop.recipe(), on_progress=lambda progress: (out / name).write_text("mine"))
    assert caught.value.where == str(out / name)
    assert not (out / "manifest.json").exists()
    (out / name).unlink()
    made = shard_times(out)
    workshop.build(out, workshop.recipe())
    assert shard_times(out) == made
    assert without_log(out) == without_log(finished)


@pytest.mark.parametrize("name", ["shards/00001.arrow", "tasks/00001.json", "shards/00950.arrow", "tasks/00950.json"])
def test_a_folder_in_place_of_a_shard_or_record_is_an_error_that_names_it(
    workshop: Workshop, stopped: Path, name: str
) -> None:
    """It is not deleted: nobody knows what is in it."""
    (stopped / name).unlink(missing_ok=True)
    (stopped / name).mkdir()
    (stopped / name / "thesis.txt").write_text("mine")
    folder, file = name.split("/")
    with pytest.raises(MixerError, match=rf"{folder}/\.?{re.escape(file)}"):
        workshop.build(stopped, workshop.recipe())
    assert (stopped / name / "thesis.txt").read_text() == "mine"


def shard_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_bit_in_a_record_is_noticed_and_only_its_task_is_made_again(
    workshop: Workshop, finished: Path, stopped: Path, share: float
) -> None:
    """Anywhere in the record: counts, limits and digests are not believed without the record's own digest."""
    record = stopped / "tasks/00001.json"
    num_records = len(list((stopped / "tasks").iterdir()))
    flip(record, int(share * record.stat().st_size))
    before = shard_times(stopped)
    resumed: list[int] = []
    workshop.build(stopped, workshop.recipe(), on_progress=lambda progress: resumed.append(progress.num_resumed))
    after = shard_times(stopped)
    assert resumed[0] == num_records - 1
    with_record = [f"{number:05d}.arrow" for number in range(num_records)]
    assert [name for name in with_record if after[name] != before[name]] == ["00001.arrow"]
    assert without_log(stopped) == without_log(finished)


def test_copies_of_manifests_stand_beside_each_other(workshop: Workshop, tmp_path: Path) -> None:
    """Two builds of one name have two copies, and one build has one, however often it is made."""
    copies = tmp_path / "copies"
    recipes = {"a": workshop.recipe(target={"rows": 20}), "b": workshop.recipe(target={"rows": 20}, seed=2)}
    manifests = {out: workshop.build(tmp_path / out, recipe, copies=copies) for out, recipe in recipes.items()}
    workshop.build(tmp_path / "c", recipes["a"], copies=copies)
    assert sorted(path.name for path in copies.iterdir()) == sorted(
        f"tiny-{manifest.id[:12]}.json" for manifest in manifests.values()
    )
    for out, manifest in manifests.items():
        copied = copies / f"tiny-{manifest.id[:12]}.json"
        assert copied.read_bytes() == (tmp_path / out / "manifest.json").read_bytes()
        assert load_manifest(copied) == manifest


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_ends_the_build_and_nothing_is_lost(
    workshop: Workshop, finished: Path, tmp_path: Path, workers: int
) -> None:
    """As the kernel does where memory runs out."""
    whole = TaskRunner.run

    def killed(self: TaskRunner, task: Any, limit: Any = None) -> Any:
        if task.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, task, limit)

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskRunner, "run", killed)
        with pytest.raises(TaskError, match=r"worker process that did task 2 died \(exit code -9\)"):
            workshop.build(out, workshop.recipe(), workers=workers)
    assert not (out / "manifest.json").exists()
    workshop.build(out, workshop.recipe(), workers=workers)
    assert without_log(out) == without_log(finished)


CRASH = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from workshop import Workshop
from mixer.system import disk

parent, rename = os.getpid(), disk.rename

def crash(source, target):
    if os.getpid() == parent and Path(target).name == sys.argv[5]:
        if sys.argv[6] == "after":
            rename(source, target)
        os.kill(parent, signal.SIGKILL)
    rename(source, target)

disk.rename = crash
workshop = Workshop(root=Path(sys.argv[2]), cache_dir=Path(sys.argv[3]))
workshop.build(Path(sys.argv[4]), workshop.recipe())
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["plan.json", "README.md", "build-log.json", "manifest.json"])
def test_a_crash_at_a_publication_leaves_nothing_and_costs_no_finished_task(
    workshop: Workshop, finished: Path, tmp_path: Path, name: str, when: str
) -> None:
    """SIGKILL just before and just after each file of the parent appears."""
    out = tmp_path / "out"
    arguments = [Path(__file__).parents[1], workshop.root, workshop.cache_dir, out, name, when]
    found = subprocess.run(
        [sys.executable, "-c", CRASH, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == -signal.SIGKILL, found.stderr
    resumed: list[int] = []
    workshop.build(out, workshop.recipe(), on_progress=lambda progress: resumed.append(progress.num_resumed))
    assert without_log(out) == without_log(finished)
    if name != "plan.json" and resumed:
        assert resumed[-1] == len(load_manifest(finished).shards)


BAD = {"bad": {"weight": 1, "path": "bad/*.jsonl"}, "edu": {"weight": 1, "path": "edu/*.parquet"}}


@pytest.fixture
def bad_rows(workshop: Workshop, tmp_path: Path) -> Workshop:
    """A source whose third of five lines is broken."""
    root = Path(shutil.copytree(workshop.root, tmp_path / "data"))
    (root / "bad").mkdir()
    lines = ['{"text": "one"}', '{"text": "two"}', '{"text": "thr', '{"text": null}', '{"text": "five"}']
    (root / "bad/0.jsonl").write_text("\n".join(lines) + "\n")
    return Workshop(root=root, cache_dir=workshop.cache_dir)


def test_a_bad_row_ends_the_build_with_its_place(bad_rows: Workshop, tmp_path: Path) -> None:
    """Source, file and line."""
    with pytest.raises(DataError) as caught:
        bad_rows.build(tmp_path / "out", bad_rows.recipe(sources=BAD, target={"rows": 10}))
    assert "sources.bad" in str(caught.value)
    assert "bad/0.jsonl" in str(caught.value)
    assert "3" in caught.value.message
    assert not (tmp_path / "out/manifest.json").exists()


def test_bad_rows_can_be_skipped_and_are_counted(bad_rows: Workshop, tmp_path: Path) -> None:
    """Two passes over five rows: two bad ones and two nulls."""
    recipe = bad_rows.recipe(sources=BAD, target={"rows": 20}, on_bad_row="skip")
    counts = counts_of(bad_rows.build(tmp_path / "out", recipe), "bad")
    assert (counts.rows, counts.documents) == (10, 6)
    assert counts.skipped == {"bad_row": 2, "null_text": 2}


def test_a_source_changed_during_the_build_ends_it(workshop: Workshop, tmp_path: Path) -> None:
    """Rows of another file are not passed off as those that were pinned."""
    root = Path(shutil.copytree(workshop.root, tmp_path / "data"))

    def change(plan: Any) -> None:
        path = root / "maths/0.parquet"
        path.write_bytes(path.read_bytes())

    with pytest.raises(DataError, match=r"(?s)changed since it was pinned.*plan a new build"):
        workshop.build(tmp_path / "out", workshop.recipe(), root=root, on_plan=change)
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_below_one_is_refused(workshop: Workshop, tmp_path: Path, workers: int) -> None:
    """Not taken for a default."""
    with pytest.raises(UsageError, match="workers must be at least 1"):
        workshop.build(tmp_path / "out", workshop.recipe(), workers=workers)


def test_a_mix_that_cannot_be_met_leaves_no_folder(workshop: Workshop, tmp_path: Path) -> None:
    """It is refused before anything is built."""
    with pytest.raises(RecipeError, match="the mix cannot be met"):
        workshop.build(tmp_path / "out", workshop.recipe(target={"rows": 10**6}, when_exhausted="error"))
    assert not (tmp_path / "out").exists()


def test_stop_ends_before_a_source_is_repeated(workshop: Workshop, tmp_path: Path) -> None:
    """No source is read twice, and the one that ends the build is read whole."""
    manifest = workshop.build(tmp_path / "out", workshop.recipe(target=None, when_exhausted="stop"))
    assert max(passes(manifest)) == 1
    rows = [row for shard in workshop.rows(tmp_path / "out", manifest) for row in shard]
    assert {number for row in rows for number in row["segment_pass"]} <= {0, -1}

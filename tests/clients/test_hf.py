"""`datasets.load_dataset` and `transformers.Trainer`, as installed, over a real build."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from snippets import run_example
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
from workshop import Workshop

import mixer.feed
import mixer.feed.hf
from mixer.errors import IntegrityError, UsageError
from mixer.feed.hf import Collator, load

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """The build as `datasets` reads it."""
    return datasets.load_dataset(str(finished), split="train", cache_dir=str(tmp_path_factory.mktemp("hf")))


@pytest.fixture(scope="module")
def other(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another build in a folder of the same name: the same recipe with another seed."""
    out = tmp_path_factory.mktemp("other") / "out"
    workshop.build(out, workshop.recipe(seed=2))
    return out


def first_ids(build: Path) -> list[int]:
    """The ids of a build's first sequence, from its shard."""
    return mixer.feed.open(build).ids(0).tolist()


def without_description(build: Path, out: Path) -> Path:
    """A copy whose card does not say which build it is."""
    shutil.copytree(build, out)
    card = out / "README.md"
    kept = [line for line in card.read_text().splitlines(keepends=True) if "description: mixer build" not in line]
    card.write_text("".join(kept))
    return out


def test_datasets_reads_the_build_that_is_there(finished: Path, other: Path, tmp_path: Path) -> None:
    """Built again in its folder with another seed, or another folder of the same name: the rows are the new ones.

    `datasets` caches by the card and the folder's base name. Without the description in the card, the rows of the first
    build come again, which shows that it is the description that helps.
    """
    out = tmp_path / "here/out"
    for place in (finished, other):
        shutil.copytree(place, out)
        for folder in (out, place):
            rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
            assert rows[0]["input_ids"] == first_ids(place)
        shutil.rmtree(out)
    stale = []
    for number, place in enumerate((finished, other)):
        folder = without_description(place, tmp_path / str(number) / "out")
        stale.append(datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "stale"))[0])
    assert stale[0] == stale[1]
    assert first_ids(finished) != first_ids(other)


def test_mapped_rows_are_those_that_datasets_copies(finished: Path, rows: datasets.Dataset) -> None:
    """All rows and features, shuffled, cut, cast, mapped; and what is written goes beside no shard."""
    mapped = load(finished)
    assert mapped.features == rows.features
    assert mapped.to_list() == rows.to_list()
    assert mapped.shuffle(seed=3).select(range(20)).to_list() == rows.shuffle(seed=3).select(range(20)).to_list()
    for one in (mapped, rows):
        assert one[7:9] == rows.select(range(5, 50))[2:4]
    narrow = mapped.select(range(5, 50)).select_columns(["input_ids"]).rename_column("input_ids", "ids")
    assert pickle.loads(pickle.dumps(narrow))[3]["ids"] == rows[8]["input_ids"]
    before = sorted(finished.rglob("*"))
    counted = mapped.map(lambda row: {"runs": len(row["segment_row"])}, num_proc=2)
    assert counted["runs"][:] == [len(row) for row in rows["segment_row"][:]]
    assert sorted(finished.rglob("*")) == before
    assert load(finished)._fingerprint == mapped._fingerprint == mixer.feed.open(finished).manifest.id


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_mapped_rows_go_to_the_workers_of_a_loader_as_paths(finished: Path, context: str) -> None:
    """The pickle is small, and a worker's rows are the same."""
    rows = load(finished)
    assert len(pickle.dumps(rows)) < 10_000
    loader = DataLoader(
        rows, batch_size=5, num_workers=1, multiprocessing_context=context, collate_fn=Collator(finished, rows)
    )
    expected = mixer.feed.open(finished)[:].input_ids.tolist()
    assert [row for batch in loader for row in batch["input_ids"].tolist()] == expected


def test_mapping_takes_no_memory_and_no_file(finished: Path) -> None:
    """Thousands of shards are mapped: some kB for each record batch, which in real builds has 2 MB; no file is open."""
    code = """
import json, os, sys
from pathlib import Path
import pyarrow as pa
from mixer.feed.hf_table import ShardsTable
from mixer.shards.shard import shard_schema

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

paths = [Path(sys.argv[1]) / name for name in sorted(os.listdir(sys.argv[1]))]
ShardsTable(tuple(paths))
before = memory()
table = ShardsTable(tuple(paths) * 500)
rows = table.fast_slice(len(table) - 1, 1).to_pylist()
opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
batches = table.column("next_id").num_chunks
print(json.dumps({"bytes": (memory() - before) / batches, "files": sum(".arrow" in one for one in opened)}))
"""
    command = [sys.executable, "-c", code, str(finished / "shards")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["files"] == 0
    assert found["bytes"] < 20_000


def test_a_collator_checks_that_the_data_set_is_of_its_build(
    finished: Path, other: Path, rows: datasets.Dataset, tmp_path: Path
) -> None:
    """Mapped or loaded by `datasets`, whole, streamed or changed since; of another build or of none it is refused."""
    streamed = datasets.load_dataset(str(finished), split="train", streaming=True)
    changed = load(finished).shuffle(seed=1).train_test_split(0.1)["test"].map(lambda row: row)
    for fine in (rows, load(finished), streamed, changed):
        made = Collator(finished, fine)([next(iter(fine))])
        assert made["input_ids"].shape == (1, 64)
    for wrong in (load(other), load(other).select([3, 1])):
        with pytest.raises(
            IntegrityError, match=r"data set is of 'mixer build .*; the rows of 'mixer build"
        ) as refused:
            Collator(finished, wrong)
        assert "load the data set from this folder" in str(refused.value)
    unknown = without_description(finished, tmp_path / "out")
    bare = datasets.load_dataset(str(unknown), split="train", cache_dir=str(tmp_path / "cache"))
    with pytest.raises(IntegrityError, match="of no build: it has no description"):
        Collator(finished, bare)
    Collator(finished)(list(bare.select(range(2))))


def test_a_damaged_shard_is_not_mapped(copy_of_finished: Path) -> None:
    """It is refused as the feed refuses it, before `datasets` reads from it."""
    path = copy_of_finished / "shards/00002.arrow"
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[:-8])
    with pytest.raises(IntegrityError, match=r"00002\.arrow: it has"):
        load(copy_of_finished)
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(IntegrityError, match=r"00002\.arrow: its digest"):
        load(copy_of_finished, verify="digest")
    with pytest.raises(UsageError, match="nothing, size or digest"):
        load(copy_of_finished, verify="all")  # type: ignore[arg-type]


def tiny_llama(seed: int = 0, vocab_size: int = 128_256) -> LlamaForCausalLM:
    """The real model code with two small layers."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
        )
    )


@pytest.mark.parametrize("across_documents", [True, False])
def test_a_batch_of_rows_is_the_batch_of_the_feed(
    finished: Path, rows: datasets.Dataset, across_documents: bool
) -> None:
    """Ids, labels and positions, for rows as lists and as arrays; flattened with the borders."""
    expected = mixer.feed.open(finished)[:5]
    for some in (rows.select(range(5)), rows.select(range(5)).with_format("numpy")):
        made = Collator(finished, across_documents=across_documents)(list(some))
        assert made["input_ids"].tolist() == made["labels"].tolist() == expected.input_ids.tolist()
        assert made["shift_labels"].tolist() == expected.labels(across_documents=across_documents).tolist()
        assert made["position_ids"].tolist() == expected.position_ids().tolist()
        flat = Collator(finished, across_documents=across_documents, flatten=True)(list(some))
        assert flat["input_ids"].tolist() == [expected.input_ids.reshape(-1).tolist()]
        assert flat["cu_seq_lens_q"].tolist() == flat["cu_seq_lens_k"].tolist() == expected.cu_seqlens().tolist()
        assert flat["max_length_q"] == flat["max_length_k"] == expected.max_seqlen()


def test_the_models_loss_is_over_our_labels(finished: Path, rows: datasets.Dataset) -> None:
    """Every position counts, the last of each sequence too, and nothing that is masked."""
    made: dict[str, Any] = Collator(finished)(list(rows.select(range(4))))
    model = tiny_llama().eval()
    with torch.no_grad():
        found = model(**made)
    expected = torch.nn.functional.cross_entropy(found.logits.flatten(0, 1).float(), made["shift_labels"].flatten())
    assert (made["shift_labels"][:, -1] >= 0).any()
    assert (made["shift_labels"] < 0).any()
    torch.testing.assert_close(found.loss, expected)


def vocab_size(build: Path) -> int:
    return mixer.feed.open(build).manifest.tokenizer.vocab_size


def test_a_trainer_learns_from_a_build(byte_build: Path, tmp_path: Path) -> None:
    """transformers.Trainer with the collator: forty steps on the CPU, and the loss falls."""
    rows = datasets.load_dataset(str(byte_build), split="train", cache_dir=str(tmp_path / "cache"))
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        max_steps=40,
        learning_rate=0.02,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=1,
    )
    trainer = Trainer(
        tiny_llama(vocab_size=vocab_size(byte_build)), arguments, train_dataset=rows, data_collator=Collator(byte_build)
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 1


def test_the_example_runs_as_it_stands(byte_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of the module's docstring, in a folder with such a build; on the CPU and for three steps."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(byte_build)
    monkeypatch.chdir(tmp_path)
    short = {"max_steps": 3, "use_cpu": True, "dataloader_pin_memory": False, "report_to": [], "save_strategy": "no"}
    model = tiny_llama(vocab_size=vocab_size(byte_build))
    before = model.get_input_embeddings().weight.detach().clone()
    run_example(
        mixer.feed.hf,
        load=load,
        Collator=Collator,
        Trainer=Trainer,
        TrainingArguments=partial(TrainingArguments, **short),
        model=model,
    )
    assert not torch.equal(before, model.get_input_embeddings().weight)

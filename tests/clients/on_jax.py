"""What the tests of the JAX loader run, in processes of their own: JAX and fork do not go together.

on_jax.py SCENARIO BUILD RESULT.npz [PROCESS PROCESSES PORT], with the number of devices in XLA_FLAGS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from snippets import run_example

import mixer.feed.jax
from mixer.errors import UsageError
from mixer.feed.jax import Arrays, TrainLoader

Result = dict[str, np.ndarray]


def mesh_of(**axes: int) -> Mesh:
    """A mesh of all devices."""
    return Mesh(np.array(jax.devices()).reshape(tuple(axes.values())), tuple(axes))


def meshes(build: Path) -> Result:
    """A run that goes on from mesh to mesh and batch to batch: the rows of each step, out of the global arrays."""
    shardings = {
        "rows": (16, NamedSharding(mesh_of(data=8), PartitionSpec("data"))),
        "rows_and_columns": (4, NamedSharding(mesh_of(data=4, seq=2), PartitionSpec("data", "seq"))),
        "columns": (3, NamedSharding(mesh_of(data=1, seq=8), PartitionSpec(None, "seq"))),
        "rows_on_two_devices_each": (8, NamedSharding(mesh_of(model=2, data=4), PartitionSpec("data"))),
        "everywhere": (5, NamedSharding(mesh_of(data=8), PartitionSpec())),
        "first_device": (6, None),
    }
    seen: dict[str, list[np.ndarray]] = {}
    state = None
    for batch_size, sharding in shardings.values():
        loader = TrainLoader(build, batch_size=batch_size, sharding=sharding)
        if state is not None:
            loader.load_state_dict(state)
        batches = iter(loader)
        for batch in (next(batches), next(batches)):
            for name, array in batch.items():
                assert sharding is None or array.sharding == sharding
                seen.setdefault(name, []).append(np.asarray(array))
        state = loader.state_dict()
    return {name: np.concatenate(rows) for name, rows in seen.items()}


def training(build: Path) -> Result:
    """A small model that learns, its batch over eight devices: the loss of each step."""
    sharding = NamedSharding(mesh_of(data=8), PartitionSpec("data"))
    loader = TrainLoader(build, batch_size=8, sharding=sharding)
    vocab_size = loader.sequences.manifest.tokenizer.vocab_size
    keys = jax.random.split(jax.random.key(0), 2)
    weights = {
        "embed": jax.random.normal(keys[0], (vocab_size, 16)) * 0.1,
        "out": jax.random.normal(keys[1], (16, vocab_size)) * 0.1,
    }

    def loss_of(weights: dict[str, jax.Array], batch: Arrays) -> jax.Array:
        logits = weights["embed"][batch["inputs"]] @ weights["out"]
        own = jnp.take_along_axis(jax.nn.log_softmax(logits), batch["targets"][..., None], axis=-1)[..., 0]
        learnt = batch["targets_segmentation"] != 0
        return -(own * learnt).sum() / learnt.sum()

    @jax.jit
    def step(weights: dict[str, jax.Array], batch: Arrays) -> tuple[dict[str, jax.Array], jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(weights, batch)
        return jax.tree.map(lambda one, slope: one - 5.0 * slope, weights, gradients), loss

    losses = []
    for _, batch in zip(range(20), loader, strict=False):
        weights, loss = step(weights, batch)
        losses.append(float(loss))
    return {"losses": np.array(losses)}


def processes(build: Path) -> Result:
    """Two steps of a run of several processes: the rows of this one's devices, and a sum that all computed together."""
    sharding = NamedSharding(mesh_of(data=jax.device_count()), PartitionSpec("data"))
    loader = TrainLoader(build, batch_size=16, sharding=sharding)
    batches = iter(loader)
    arrays = [next(batches)["inputs"] for _ in range(2)]
    shards = [sorted(array.addressable_shards, key=lambda one: one.index[0].start) for array in arrays]
    return {
        "rows": np.concatenate([np.asarray(one.data) for shard in shards for one in shard]),
        "places": np.array(
            [[16 * step + one.index[0].start, one.data.shape[0]] for step, shard in enumerate(shards) for one in shard]
        ),
        "sums": np.array([int(jax.jit(jnp.sum)(array)) for array in arrays]),
        "consumed": np.array(loader.state_dict()["consumed"]),
    }


def ends(build: Path) -> Result:
    """The steps of one epoch, dropped and padded, and what is refused."""
    sharding = NamedSharding(mesh_of(data=8), PartitionSpec("data"))
    count = len(TrainLoader(build, batch_size=1).sequences)
    batch = count // 16 * 8 + 8  # one and a bit are left of the epoch
    steps = [
        len(list(TrainLoader(build, batch_size=batch, sharding=sharding, epochs=1, last=last)))
        for last in ("drop", "pad")
    ]  # type: ignore[arg-type]
    refused = []
    moved = TrainLoader(build, batch_size=2)
    batches = iter(moved)
    next(batches)
    moved.load_state_dict(moved.state_dict())
    for attempt in (
        lambda: TrainLoader(build, batch_size=12, sharding=sharding),
        lambda: TrainLoader(build, batch_size=10**6, epochs=1),
        lambda: TrainLoader(build, batch_size=1).load_state_dict(TrainLoader(build, batch_size=1, seed=9).state_dict()),
        lambda: next(batches),
    ):
        try:
            attempt()
        except Exception as error:
            refused.append(f"{type(error).__name__}: {error}")
    return {"steps": np.array(steps), "refused": np.array(refused)}


def example(build: Path) -> Result:
    """The lines of the module's docstring, in a folder with such a build: what its training step was given."""
    seen: list[np.ndarray] = []

    def train_step(inputs: jax.Array, targets: jax.Array, segmentation: jax.Array) -> None:
        seen.append(np.asarray(inputs))
        if len(seen) == 3:
            raise KeyboardInterrupt

    checkpoint = {"data": TrainLoader(build, batch_size=1).state_dict()}
    names = {"NamedSharding": NamedSharding, "PartitionSpec": PartitionSpec, "mesh": mesh_of(data=8)}
    try:
        run_example(mixer.feed.jax, TrainLoader=TrainLoader, checkpoint=checkpoint, train_step=train_step, **names)
    except KeyboardInterrupt:
        return {"inputs": np.concatenate(seen), "consumed": np.array(checkpoint["data"]["consumed"])}
    raise UsageError("the example came to an end")


SCENARIOS: dict[str, Callable[[Path], Result]] = {
    one.__name__: one for one in (meshes, training, processes, ends, example)
}

if __name__ == "__main__":
    scenario, build, result, *place = sys.argv[1:]
    if place:
        process, number, port = map(int, place)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=number, process_id=process)
    np.savez(result, **SCENARIOS[scenario](Path(os.path.abspath(build))))

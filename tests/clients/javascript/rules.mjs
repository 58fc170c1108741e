// What the files of a build say of each other: sections 3, 4.1, 6 and 7.6 of format.md. No file is read here.

import { byCodePoint, canonical, identity, same, without } from "./json.mjs";
import { integerWeights } from "./draws.mjs";
import { PLAN_FIELDS } from "./shapes.mjs";

// The keys of a recipe that do not say which rows there are and what becomes of them.
const NOT_OF_STAGES = ["name", "seed", "tokenizer", "target", "epochs", "when_exhausted", "max_passes", "task_tokens"];
const COUNTS = ["rows", "documents", "text_bytes", "tokens", "tokens_left_out", "truncated_documents"];
const SAID_OF_A_SHARD = ["task", "stage", "draws", "sequences", "tokens", "padding", "content_xxh3", "content_sha256"];

/** Adds what does not agree in the manifest, the plan and the records, of which there is one for each task. */
export function checkRules({ manifest, plan, records }, problems) {
  const manifestSays = (holds, text) => holds || problems.add("manifest.json", text);
  manifestSays(manifest.plan === plan.id, "plan is not the id of plan.json");
  for (const key of PLAN_FIELDS) manifestSays(same(manifest[key], plan[key]), `${key} is not that of plan.json`);
  const prefixId = prefixIdOf(plan, manifest.cuts, BigInt(records.length));
  manifestSays(manifest.prefix_id === prefixId, `prefix_id is ${manifest.prefix_id}, but the content has ${prefixId}`);
  checkPlan(plan, problems);
  const stages = rangesOfStages(plan.stages, records);
  for (const record of records) checkRecord(record, { plan, stages, numTasks: records.length }, problems);
  checkSums(manifest, records, stages, manifestSays);
  checkShards(manifest, records, manifestSays);
  checkTarget({ manifest, plan, records }, problems);
}

/** The prefix id of a task. */
export function prefixIdOf(plan, cuts, task) {
  const stages = plan.stages.filter((stage) => stage.first_task < task);
  const named = new Set(stages.flatMap((stage) => stage.sources.map(({ source }) => source)));
  return identity({
    format_version: plan.format_version,
    features: plan.features,
    seed: plan.seed,
    split: plan.split,
    tokenizer: without(plan.tokenizer, "name"),
    sources: plan.sources.filter((_, number) => named.has(BigInt(number))),
    stages,
    cuts: cuts.filter((cut) => cut.task < task),
  });
}

/** The tasks and draws of each stage, as ranges of BigInts. */
function rangesOfStages(stages, records) {
  return stages.map((stage, index) => {
    const stop = stages[index + 1]?.first_task ?? BigInt(records.length);
    const last = records[Number(stop) - 1];
    return { tasks: [stage.first_task, stop], draws: [stage.first_draw, last?.draws[1] ?? stage.first_draw] };
  });
}

function checkPlan(plan, problems) {
  const planSays = (holds, text) => holds || problems.add("plan.json", text);
  planSays(plan.name === plan.recipe.name, "name is not the recipe's");
  planSays(plan.seed === plan.recipe.seed, "seed is not the recipe's");
  planSays(plan.stages.length > 0, "has no stage");
  planSays(plan.stages[0]?.first_task === 0n && plan.stages[0].first_draw === 0n, "stages[0] does not begin with 0");
  const names = plan.sources.map(({ name }) => name);
  planSays(new Set(names).size === names.length, "sources has a name twice");
  const numbering = [];
  for (const [index, stage] of plan.stages.entries()) {
    const where = `stages[${index}]`;
    const before = plan.stages[index - 1];
    if (before !== undefined) {
      planSays(before.first_task < stage.first_task, `${where} does not begin after the stage before`);
      planSays(before.sequence.length === stage.sequence.length, `${where} has a length of its own`);
      planSays(before.sequence.batch_sequences === stage.sequence.batch_sequences, `${where} has batches of its own`);
    }
    const sources = stage.sources.map(({ source }) => Number(source));
    const inOrder = sources.every((source, place) => place === 0 || sources[place - 1] < source);
    const known = sources.length > 0 && inOrder && sources.at(-1) < names.length;
    planSays(known, `${where}.sources are not numbers of sources in order`);
    if (!known) continue;
    numbering.push(...sources.filter((source) => !numbering.includes(source)).sort(byName(names)));
    checkStageRecipe(
      stage,
      sources.map((source) => names[source]),
      (holds, text) => planSays(holds, `${where}.${text}`),
    );
  }
  planSays(
    numbering.length === names.length && numbering.every((n, place) => n === place),
    "sources are not numbered by stage and name",
  );
  const last = plan.stages.at(-1)?.recipe;
  planSays(last !== undefined && same(last, recipeOfStage(plan.recipe)), "recipe is not that of the last stage");
}

function byName(names) {
  return (one, other) => byCodePoint(names[one], names[other]);
}

function recipeOfStage(recipe) {
  const rest = without(recipe, ...NOT_OF_STAGES);
  rest.sources = Object.assign(Object.create(null), rest.sources);
  for (const name of Object.keys(rest.sources)) rest.sources[name] = without(rest.sources[name], "max_passes");
  return rest;
}

function checkStageRecipe(stage, names, stageSays) {
  const { sources, sequence, weights } = stage.recipe;
  stageSays(same(Object.keys(sources).sort(byCodePoint), [...names].sort(byCodePoint)), "recipe has other sources");
  stageSays(weights === stage.weights, "weights are of another kind than the recipe's");
  stageSays(
    sequence !== undefined && same(sequence, without(stage.sequence, "batch_sequences")),
    "sequence is not the recipe's",
  );
  if (weights !== "rows" || !names.every((name) => typeof sources[name]?.weight === "string")) return;
  // Weights in tokens are measured, so that nobody can make them from the recipe.
  const made = integerWeights(names.map((name) => sources[name].weight));
  stageSays(
    same(
      made,
      stage.sources.map(({ weight }) => weight),
    ),
    "sources have other weights than the recipe's",
  );
}

function checkRecord(record, { plan, stages, numTasks }, problems) {
  const recordSays = (holds, text) => holds || problems.add(nameOf(record), text);
  recordSays(record.plan === plan.id, "plan is not the id of plan.json");
  const index = plan.stages.findLastIndex((stage) => stage.first_task <= record.task);
  recordSays(record.stage === BigInt(index), `stage is not ${index}, which holds the task`);
  const stage = plan.stages[index];
  const start = stage.first_draw + (record.task - stage.first_task) * stage.draws_per_task;
  const held = record.cut?.draws ?? stage.draws_per_task;
  recordSays(held <= stage.draws_per_task, "cut has more draws than a task");
  recordSays(same(record.draws, [start, start + held]), `draws are not ${start} to ${start + held}, those of the task`);
  const isLast = record.task + 1n === stages[index].tasks[1];
  if (isLast && index + 1 < plan.stages.length) {
    recordSays(plan.stages[index + 1].first_draw === record.draws[1], "draws do not end where the next stage begins");
  }
  if (record.cut !== null) {
    recordSays(isLast, "cut is not null, but the task does not end its stage");
    recordSays(record.cut.task === record.task, "cut is that of another task");
    recordSays(record.cut.sequences === record.sequences, "cut has other sequences than the record");
  }
  recordSays(
    record.limit === null || record.task === BigInt(numTasks - 1) || isLast,
    "limit is not null, but the task is not the last",
  );
  recordSays(
    record.tokens + record.padding === record.sequences * stage.sequence.length,
    "tokens and padding do not fill the sequences",
  );
  recordSays(record.counts.length === stage.sources.length, "counts are not those of the stage's sources");
  for (const [place, count] of record.counts.entries()) {
    const skipped = Object.values(count.skipped).reduce((a, b) => a + b, 0n);
    recordSays(count.rows === count.documents + skipped, `counts[${place}].rows are not documents and skipped`);
    recordSays(
      count.truncated_documents <= count.documents,
      `counts[${place}].truncated_documents are more than documents`,
    );
  }
  recordSays(record.tokens === sumOf(record.counts, "tokens"), "tokens are not the sum over the sources");
  const made = [record.content_xxh3, record.content_sha256, record.file].map((value) => value !== null);
  recordSays(
    made.every((has) => has === record.sequences > 0n),
    "has a shard's digests without sequences, or sequences without them",
  );
  recordSays(
    record.reference_check.different <= record.reference_check.documents,
    "reference_check has more different than documents",
  );
}

function checkSums(manifest, records, stages, manifestSays) {
  manifestSays(
    same(
      manifest.cuts,
      records.map(({ cut }) => cut).filter((cut) => cut !== null),
    ),
    "cuts are not those of the records",
  );
  manifestSays(manifest.counts.length === stages.length, "counts do not have one entry for each stage");
  for (const [index, { tasks, draws }] of stages.entries()) {
    const count = manifest.counts[index];
    const own = records.slice(Number(tasks[0]), Number(tasks[1]));
    const sums =
      stages.length === 0
        ? []
        : (own[0]?.counts ?? []).map((_, place) => sumCounts(own.map(({ counts }) => counts[place])));
    manifestSays(
      count !== undefined &&
        same(without(count, ...unnamed(count)), { stage: BigInt(index), tasks, draws, sources: sums }),
      `counts[${index}] is not the sum of the records`,
    );
  }
  const totals = {
    draws: records.reduce((sum, { draws }) => sum + draws[1] - draws[0], 0n),
    sequences: sumOf(records, "sequences"),
    tokens: sumOf(records, "tokens"),
    padding: sumOf(records, "padding"),
  };
  for (const key of ["documents", "text_bytes", "tokens_left_out", "truncated_documents"]) {
    totals[key] = records.reduce((sum, { counts }) => sum + sumOf(counts, key), 0n);
  }
  for (const [key, sum] of Object.entries(totals)) {
    manifestSays(manifest.totals[key] === sum, `totals.${key} is ${manifest.totals[key]}, but the records have ${sum}`);
  }
  for (const key of ["documents", "different"]) {
    const sum = sumOf(
      records.map((record) => record.reference_check),
      key,
    );
    manifestSays(manifest.reference_check[key] === sum, `reference_check.${key} is not the sum of the records`);
  }
  manifestSays(same(manifest.epochs, manifest.recipe.epochs), "epochs are not the recipe's");
}

function unnamed(count) {
  return Object.keys(count).filter((key) => !["stage", "tasks", "draws", "sources"].includes(key));
}

function sumCounts(counts) {
  const sum = { skipped: {} };
  for (const key of COUNTS) sum[key] = sumOf(counts, key);
  for (const { skipped } of counts) {
    for (const [reason, rows] of Object.entries(skipped)) sum.skipped[reason] = (sum.skipped[reason] ?? 0n) + rows;
  }
  return sum;
}

function sumOf(values, key) {
  return values.reduce((sum, value) => sum + value[key], 0n);
}

function checkShards(manifest, records, manifestSays) {
  const made = records.filter(({ sequences }) => sequences > 0n);
  manifestSays(
    same(
      manifest.shards.map(({ task }) => task),
      made.map(({ task }) => task),
    ),
    "shards are not those of the records",
  );
  for (const [index, shard] of manifest.shards.entries()) {
    const record = made.find(({ task }) => task === shard.task);
    if (record === undefined) continue;
    for (const key of SAID_OF_A_SHARD) {
      manifestSays(same(shard[key], record[key]), `shards[${index}].${key} is not that of the task's record`);
    }
    // A shard is deleted after its record was written, which stays as it is.
    manifestSays(
      record.file !== null && same(without(shard.file, "state"), without(record.file, "state")),
      `shards[${index}].file is not that of the task's record`,
    );
  }
}

// A target in rows is met by draws; one in tokens or sequences in the last task, and not before. A source that ran out may
// have ended the build earlier.
function checkTarget({ manifest, plan, records }, problems) {
  const { target, when_exhausted: whenExhausted } = plan.recipe;
  const times = manifest.epochs.mode === "redraw" ? manifest.epochs.count : 1n;
  const last = records.at(-1);
  const kind = ["tokens", "sequences"].find((key) => typeof target?.[key] === "bigint");
  if (typeof target?.rows === "bigint" && whenExhausted !== "stop" && manifest.totals.draws !== target.rows * times) {
    problems.add("manifest.json", `totals.draws are not the ${target.rows * times} of the target`);
  }
  if (kind === undefined) {
    if (last.limit !== null)
      problems.add(nameOf(last), "limit is not null, but the target is not in tokens or sequences");
    return;
  }
  const wanted = target[kind] * times - sumOf(records.slice(0, -1), kind);
  if (wanted <= 0n) problems.add(nameOf(last), "comes after the target was reached");
  if (whenExhausted === "stop" && last[kind] < wanted) return;
  if (last[kind] < wanted) problems.add("manifest.json", `totals.${kind} do not reach the target`);
  if (last.limit === null || last.limit.kind !== kind || last.limit.amount !== wanted) {
    problems.add(nameOf(last), `limit is ${canonical(last.limit)}, but ${wanted} ${kind} were still wanted`);
  }
}

function nameOf(record) {
  return `tasks/${String(record.task).padStart(5, "0")}.json`;
}

// What the files of a build say of each other: sections 3, 4, 6 and 7.6 of format.md. No file is read here.

import { numbered } from "./folder.mjs";
import { canonical, same } from "./json.mjs";
import { checkPlan, prefixIdOf } from "./plan.mjs";
import { PLAN_FIELDS } from "./shapes.mjs";

const CUT = ["task", "draws", "sequences"];
const EPOCHS = ["count", "mode"];
const FILE = ["bytes", "xxh3"];
const COUNTS = ["rows", "documents", "text_bytes", "tokens", "tokens_left_out", "truncated_documents"];
const SAID_OF_A_SHARD = ["task", "stage", "draws", "sequences", "tokens", "padding", "content_xxh3", "content_sha256"];

/** Adds what does not agree in the manifest, the plan and the records, of which there is one for each task. */
export function checkRules({ manifest, plan, records }, problems) {
  const before = problems.texts.length;
  if (manifest.plan !== plan.id) problems.add("manifest.json", "plan is not the id of plan.json");
  checkPlan(plan, problems);
  // The records are held against the plan, and the manifest against both.
  if (problems.texts.length > before) return;
  if (plan.stages.at(-1).first_task >= records.length) {
    problems.add("tasks", "has no record of the last stage");
    return;
  }
  const stages = rangesOfStages(plan.stages, records);
  for (const record of records) checkRecord(record, { plan, stages }, problems);
  if (problems.texts.length > before) return;
  checkManifest({ manifest, plan, records, stages }, (holds, text) => holds || problems.add("manifest.json", text));
  if (plan.parent === null) checkTarget({ manifest, plan, records }, problems);
}

function checkManifest({ manifest, plan, records, stages }, manifestSays) {
  for (const key of PLAN_FIELDS) manifestSays(same(manifest[key], plan[key]), `${key} is not that of plan.json`);
  const prefixId = prefixIdOf(plan, manifest.cuts, BigInt(records.length));
  manifestSays(manifest.prefix_id === prefixId, `prefix_id is ${manifest.prefix_id}, but the content has ${prefixId}`);
  manifestSays(same(named(manifest.epochs, EPOCHS), named(plan.recipe.epochs, EPOCHS)), "epochs are not the recipe's");
  const cuts = records.map(({ cut }) => cut).filter((cut) => cut !== null);
  manifestSays(same(allNamed(manifest.cuts, CUT), allNamed(cuts, CUT)), "cuts are not those of the records");
  checkCounts(manifest, records, stages, manifestSays);
  checkTotals(manifest, records, manifestSays);
  checkShards(manifest, records, manifestSays);
}

// Keys that the page does not name may differ from one file to another.
function named(value, keys) {
  return Object.fromEntries(keys.map((key) => [key, value[key]]));
}

function allNamed(values, keys) {
  return values.map((value) => named(value, keys));
}

/** The tasks and draws of each stage, as ranges of BigInts. */
function rangesOfStages(stages, records) {
  return stages.map((stage, index) => {
    const stop = stages[index + 1]?.first_task ?? BigInt(records.length);
    const last = records[Number(stop) - 1];
    return { tasks: [stage.first_task, stop], draws: [stage.first_draw, last?.draws[1] ?? stage.first_draw] };
  });
}

function checkRecord(record, { plan, stages }, problems) {
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
  recordSays(record.limit === null || isLast, "limit is not null, but the task does not end its stage");
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

function checkCounts(manifest, records, stages, manifestSays) {
  manifestSays(manifest.counts.length === stages.length, "counts do not have one entry for each stage");
  for (const [index, count] of manifest.counts.slice(0, stages.length).entries()) {
    const { tasks, draws } = stages[index];
    const own = records.slice(Number(tasks[0]), Number(tasks[1]));
    const sources = own[0].counts.map((_, place) => sumCounts(own.map(({ counts }) => counts[place])));
    const written = {
      ...named(count, ["stage", "tasks", "draws"]),
      sources: count.sources.map((one) => sumCounts([one])),
    };
    const isSum = same(written, { stage: BigInt(index), tasks, draws, sources });
    manifestSays(isSum, `counts[${index}] is not the sum of the records`);
  }
}

function checkTotals(manifest, records, manifestSays) {
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
    const sum = records.reduce((total, { reference_check }) => total + reference_check[key], 0n);
    manifestSays(manifest.reference_check[key] === sum, `reference_check.${key} is not the sum of the records`);
  }
}

function sumCounts(counts) {
  const sum = { skipped: Object.create(null) };
  for (const key of COUNTS) sum[key] = sumOf(counts, key);
  for (const [reason, rows] of counts.flatMap(({ skipped }) => Object.entries(skipped))) {
    if (rows > 0n) sum.skipped[reason] = (sum.skipped[reason] ?? 0n) + rows;
  }
  return sum;
}

function sumOf(values, key) {
  return values.reduce((sum, value) => sum + value[key], 0n);
}

function checkShards(manifest, records, manifestSays) {
  const made = records.filter(({ sequences }) => sequences > 0n);
  manifestSays(
    same(allNamed(manifest.shards, ["task"]), allNamed(made, ["task"])),
    "shards are not those of the records",
  );
  for (const [index, shard] of manifest.shards.entries()) {
    const record = made.find(({ task }) => task === shard.task);
    if (record === undefined) continue;
    for (const key of SAID_OF_A_SHARD) {
      manifestSays(same(shard[key], record[key]), `shards[${index}].${key} is not that of the task's record`);
    }
    // A shard is deleted after its record was written, which stays as it is.
    const isFile = same(named(shard.file, FILE), named(record.file, FILE));
    manifestSays(isFile, `shards[${index}].file is not that of the task's record`);
  }
}

// A target in rows is met by draws; one in tokens or sequences in the last task, and not before. A source that ran out
// may have ended the build earlier.
function checkTarget({ manifest, plan, records }, problems) {
  const { target, when_exhausted: whenExhausted } = plan.recipe;
  const times = manifest.epochs.mode === "redraw" ? manifest.epochs.count : 1n;
  const last = records.at(-1);
  const kind = ["tokens", "sequences"].find((key) => typeof target?.[key] === "bigint");
  if (typeof target?.rows === "bigint" && whenExhausted !== "stop" && manifest.totals.draws !== target.rows * times) {
    problems.add("manifest.json", `totals.draws are not the ${target.rows * times} of the target`);
  }
  if (kind === undefined) {
    if (last.limit !== null) problems.add(nameOf(last), "limit is not null, but the target has no such limit");
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
  return `tasks/${numbered(record.task)}.json`;
}

// Checks a whole build: its files, what they say of each other, and its shards.

import { lstatSync } from "node:fs";
import { join } from "node:path";

import {
  Problems,
  listNumbered,
  loadManifest,
  loadPlan,
  loadRecord,
  loadSelection,
  loadSnapshot,
  numbered,
  readRegular,
} from "./folder.mjs";
import { BadData } from "./json.mjs";
import { checkRules } from "./rules.mjs";
import { digestOfFile, digestsOfContent, readColumns, readSequences } from "./shards.mjs";
import { SourceRows, checkRows, checkTask, drawsOfTasks } from "./tasks.mjs";

/** Checks a finished build: its manifest, or null where that cannot be read, and one text for each problem. */
export async function checkBuild(out) {
  const problems = new Problems();
  const manifest = problems.attempt("manifest.json", () => loadManifest(out));
  const plan = problems.attempt("plan.json", () => loadPlan(out));
  const records = loadRecords(out, problems);
  // What one of these files says is checked with the others, so that all must be readable.
  if (problems.texts.length > 0) return { manifest, problems: problems.texts };
  checkRules({ manifest, plan, records }, problems);
  checkListedShards(out, records, problems);
  if (problems.texts.length > 0) return { manifest, problems: problems.texts };
  const sources = loadSources(out, plan, problems);
  for (const [index, stage] of plan.stages.entries()) {
    const own = records.filter((record) => record.stage === BigInt(index));
    await checkStage({ out, manifest, plan, stage, records: own, sources: sources?.[index] ?? null }, problems);
  }
  return { manifest, problems: problems.texts };
}

function loadRecords(out, problems) {
  const names = problems.attempt("tasks", () => listNumbered(out, "tasks")) ?? [];
  const records = [];
  for (const task of names.keys()) {
    const name = `tasks/${numbered(task)}.json`;
    const record = problems.attempt(name, () => loadRecord(out, task));
    if (record !== null) records.push(record);
  }
  const expected = new Set(Array.from(names.keys(), (task) => `${numbered(task)}.json`));
  for (const name of names.filter((name) => !expected.has(name)))
    problems.add(`tasks/${name}`, "is not the record of a task");
  if (names.length === 0) problems.add("tasks", "has no record");
  return records;
}

function checkListedShards(out, records, problems) {
  const expected = new Set(
    records.filter(({ sequences }) => sequences > 0n).map(({ task }) => `${numbered(task)}.arrow`),
  );
  for (const name of problems.attempt("shards", () => listNumbered(out, "shards")) ?? []) {
    if (!expected.has(name)) problems.add(`shards/${name}`, "is not the shard of a task");
  }
}

// The rows of each stage's sources, or null where a snapshot or selection is wrong.
function loadSources(out, plan, problems) {
  const before = problems.texts.length;
  const snapshots = plan.sources.map(({ name, snapshot, num_rows }) => {
    const where = `snapshots/${snapshot}.json`;
    const loaded = problems.attempt(where, () => loadSnapshot(out, snapshot));
    if (loaded === null) return null;
    for (const { path } of loaded.files) {
      if (path.split("/").some((part) => ["", ".", ".."].includes(part)))
        problems.add(where, `has the path ${JSON.stringify(path)}`);
    }
    if (sum(loaded.files.flatMap(({ rows }) => rows)) !== num_rows)
      problems.add(where, `does not have the ${num_rows} rows of ${name}`);
    return loaded;
  });
  const stages = plan.stages.map((stage) =>
    stage.sources.map(({ source, selection, pass_rows }) => {
      const [number, where] = [Number(source), `selections/${selection}.json`];
      const { name, num_rows } = plan.sources[number];
      const loaded = problems.attempt(where, () => loadSelection(out, selection));
      const snapshot = snapshots[number];
      if (loaded === null || snapshot === null) return null;
      const blocks = snapshot.files.flatMap(({ rows }) => rows);
      const kept = loaded.kept ?? [blocks];
      if (kept.some((pass) => pass.length !== blocks.length || pass.some((rows, block) => rows > blocks[block]))) {
        problems.add(where, `does not fit the blocks of ${name}, which has ${num_rows} rows`);
      } else if (kept.map(sum).join() !== pass_rows.join()) {
        problems.add(
          where,
          `keeps ${kept.map(sum).join(", ")} rows of ${name}, but pass_rows are ${pass_rows.join(", ")}`,
        );
      }
      return new SourceRows({ seed: plan.seed, name, number, snapshot, selection: loaded });
    }),
  );
  return problems.texts.length === before ? stages : null;
}

function sum(values) {
  return values.reduce((a, b) => a + b, 0n);
}

async function checkStage({ out, manifest, plan, stage, records, sources }, problems) {
  const tasks = drawsOfTasks(stage);
  const names = stage.sources.map(({ source }) => plan.sources[Number(source)].name);
  for (const record of records) {
    const draws = tasks.next().value.slice(0, Number(record.draws[1] - record.draws[0]));
    checkRows({ record, stage, names, draws }, (text) => problems.add(`tasks/${numbered(record.task)}.json`, text));
    const shard = manifest.shards.find(({ task }) => task === record.task);
    if (shard === undefined) continue;
    const name = `shards/${numbered(record.task)}.arrow`;
    if (shard.file.state === "deleted" && !exists(join(out, name))) continue;
    try {
      const sequences = await readShard({ path: join(out, name), shard, plan, stage });
      const say = (text) => problems.add(name, text);
      if (sources !== null) checkTask({ record, plan, stage, sources, draws, sequences }, say);
      checkKept({ record, sequences }, say);
    } catch (error) {
      if (!(error instanceof BadData)) throw error;
      problems.add(name, error.message);
    }
  }
}

function exists(path) {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

// The sequences of a shard whose bytes are those that the manifest binds.
async function readShard({ path, shard, plan, stage }) {
  const bytes = readRegular(path);
  const mustBe = (what, found, said) => {
    if (found !== said) throw new BadData(`${what} is ${found}, but the manifest says ${said}`);
  };
  mustBe("file.bytes", BigInt(bytes.length), shard.file.bytes);
  mustBe("file.xxh3", await digestOfFile(bytes), shard.file.xxh3);
  const columns = readColumns(bytes, stage.sequence);
  const digests = await digestsOfContent(columns);
  mustBe("content_xxh3", digests.content_xxh3, shard.content_xxh3);
  mustBe("content_sha256", digests.content_sha256, shard.content_sha256);
  mustBe("sequences", BigInt(columns.numRows), shard.sequences);
  const sequences = readSequences(columns, {
    length: Number(stage.sequence.length),
    numSources: plan.sources.length,
    vocabSize: Number(plan.tokenizer.vocab_size),
    padId: Number(plan.tokenizer.pad_id),
  });
  mustBe("padding", BigInt(sequences.reduce((total, { numPad }) => total + numPad, 0)), shard.padding);
  return sequences;
}

// A task in which the target is reached keeps the first sequences that reach it, and no more.
function checkKept({ record, sequences }, say) {
  if (record.limit === null || record.cut === null) return;
  const { kind, amount } = record.limit;
  const size = ({ ids, numPad }) => BigInt(kind === "tokens" ? ids.length - numPad : 1);
  const reached = sum(sequences.map(size));
  if (reached < amount || reached - size(sequences.at(-1)) >= amount) {
    say(`keeps ${reached} ${kind}, which are not the fewest for the ${amount} that were wanted`);
  }
}

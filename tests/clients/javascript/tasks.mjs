// Holds a task against the mix: rows, documents, their order and their packing. Sections 2 (rules 4 and 5), 6.2 and 7.

import { blocksOfPass, passOfDraw, slotsOfDocuments, sourcesOfDraws } from "./draws.mjs";
import { packBestFit } from "./packing.mjs";
import { checkConcat, documentsOf, goesOn } from "./shards.mjs";

const NONE = -100;

/** Yields for each task of a stage, one after the other, its draws: `place` (of the source in the stage) and `pass`, `row`. */
export function* drawsOfTasks(stage) {
  const weights = stage.sources.map(({ weight }) => weight);
  const next = stage.sources.map(({ first_draw }) => first_draw);
  let draws = [];
  for (const place of sourcesOfDraws(weights)) {
    draws.push({ place, ...passOfDraw(stage.sources[place].pass_rows, next[place]) });
    next[place] += 1n;
    if (BigInt(draws.length) === stage.draws_per_task) {
      yield draws;
      draws = [];
    }
  }
}

/** Where the draws of a source lie in its files: it knows the source's snapshot and selection. */
export class SourceRows {
  constructor({ seed, name, number, snapshot, selection }) {
    this.seed = seed;
    this.name = name;
    this.number = number;
    this.rows = snapshot.files.flatMap((file) => file.rows.map(Number));
    this.kept = selection.kept?.map((pass) => pass.map(Number)) ?? [this.rows];
    this.starts = startsOf(this.rows);
    this.passes = new Map();
  }

  /** The block, the place among the block's kept rows, and, where that is certain, the ordinal of a row of a pass. */
  locate(pass, row) {
    const kept = this.kept[Number(pass) % this.kept.length];
    if (!this.passes.has(pass)) {
      const blocks = blocksOfPass(this.seed, this.name, pass, this.rows.length);
      this.passes.set(pass, { blocks, starts: startsOf(blocks.map((block) => kept[block])) });
    }
    const { blocks, starts } = this.passes.get(pass);
    const place = lastNotAbove(starts, Number(row));
    const block = blocks[place];
    const number = Number(row) - starts[place];
    const ordinal = kept[block] === this.rows[block] ? this.starts[block] + number : null;
    return { block, number, ordinal };
  }

  /** The block that holds a row. */
  blockOf(ordinal) {
    return lastNotAbove(this.starts, Number(ordinal));
  }
}

function startsOf(lengths) {
  let sum = 0;
  return lengths.map((length) => (sum += length) - length);
}

// Of several that start at the same place, all but the last are empty.
function lastNotAbove(starts, value) {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** Adds to `say` what is wrong with the rows that a record counts; it needs no shard. */
export function checkRows({ record, stage, names, draws }, say) {
  const drawn = stage.sources.map(() => 0n);
  for (const { place } of draws) drawn[place] += 1n;
  for (const [place, rows] of drawn.entries()) {
    const counted = record.counts[place].rows;
    if (counted !== rows) say(`counts: ${counted} rows of ${names[place]}, but the weights draw ${rows}`);
  }
}

/**
 * Adds to `say` what is wrong with the sequences of a task. `sources` has the SourceRows of the stage's sources, `draws` the
 * draws of the task.
 */
export function checkTask({ record, plan, stage, sources, draws, sequences }, say) {
  const { packing, length } = stage.sequence;
  const documents = documentsOf(sequences);
  const leftOut = new Map(sources.map(({ number }, place) => [number, record.counts[place].tokens_left_out > 0n]));
  const isCutShort = [...leftOut.values()].includes(true);
  if (packing === "concat") checkConcat(sequences, isCutShort);
  for (const document of documents) {
    if (!leftOut.has(document.source)) {
      say(`has source ${document.source}, which is not of the stage`);
      return;
    }
    const mayEndEarly = leftOut.get(document.source);
    checkWhole(document, mayEndEarly && packing === "best-fit", say);
    checkMarks(document, { plan, stage, mayEndEarly }, say);
    if (packing === "best-fit") checkPieces(document, { length: Number(length), mayEndEarly }, say);
  }
  checkCounts({ record, sources, documents }, say);
  const slots = assignSlots({ task: record.task, plan, sources, draws, documents }, say);
  const known = documents.filter((document) => slots.has(document));
  if (packing === "concat") {
    const inOrder = known.every((document, place) => place === 0 || slots.get(known[place - 1]) < slots.get(document));
    if (!inOrder) say("documents are not in the order of their slots");
    return;
  }
  const isComplete = known.length === documents.length && !isCutShort;
  if (isComplete) checkBestFit({ documents, slots, sequences, length: Number(length) }, say);
}

function describe({ source, rowOrdinal, pass }) {
  return `the document of source ${source}, row ${rowOrdinal}, pass ${pass}`;
}

function checkWhole(document, mayHaveHoles, say) {
  const { segments } = document;
  const isWhole = segments.every((segment, place) =>
    place === 0 ? segment.start === 0 : goesOn(segments[place - 1], segment),
  );
  if (!isWhole && !mayHaveHoles) say(`${describe(document)} does not have each of its tokens exactly once`);
}

function checkMarks(document, { plan, stage, mayEndEarly }, say) {
  const { bos, eos } = stage.sequence;
  const { bos_id, eos_id } = plan.tokenizer;
  const first = document.segments[0];
  const last = document.segments.at(-1);
  if (bos && bos_id !== null && first.start === 0 && first.sequence.ids[first.from] !== Number(bos_id)) {
    say(`${describe(document)} does not begin with BOS`);
  }
  if (eos && eos_id !== null && !mayEndEarly && last.sequence.ids[last.to - 1] !== Number(eos_id)) {
    say(`${describe(document)} does not end with EOS`);
  }
}

function checkPieces(document, { length, mayEndEarly }, say) {
  for (const [place, segment] of document.segments.entries()) {
    if (segment.start % length !== 0)
      say(`${describe(document)} has a segment that does not start at a multiple of the length`);
    const { sequence } = segment;
    if (segment.to !== length) continue;
    const after = document.segments[place + 1];
    const isUnknown = after === undefined ? mayEndEarly : !goesOn(segment, after);
    const next = after === undefined ? NONE : after.sequence.ids[after.from];
    if (!isUnknown && sequence.next !== next)
      say(`sequence ${sequence.row}: next_id is ${sequence.next}, but ${describe(document)} has ${next}`);
  }
}

function checkCounts({ record, sources, documents }, say) {
  for (const [place, { number, name }] of sources.entries()) {
    const own = documents.filter(({ source }) => source === number);
    const count = record.counts[place];
    const isEqual = (what, found, counted) =>
      found === counted || say(`has ${found} ${what} of ${name}, but counts say ${counted}`);
    isEqual("tokens", BigInt(sumOfLengths(own.flatMap(({ segments }) => segments))), count.tokens);
    if (count.tokens_left_out === 0n) isEqual("documents", BigInt(own.length), count.documents);
    else if (BigInt(own.length) > count.documents)
      say(`has ${own.length} documents of ${name}, but counts say ${count.documents}`);
    const truncated = own.filter(({ segments }) => new Set(segments.map(({ sequence }) => sequence)).size > 1);
    isEqual("truncated documents", BigInt(truncated.length), count.truncated_documents);
  }
}

function sumOfLengths(segments) {
  return segments.reduce((sum, { from, to }) => sum + to - from, 0);
}

/**
 * The slots of a task's documents. Which rows of a block a predicate keeps is not in the build; where some of them were
 * skipped as well, the slots of that block's documents are not certain, and are left out.
 */
function assignSlots({ task, plan, sources, draws, documents }, say) {
  const names = sources.map(({ name }) => name);
  const order = slotsOfDocuments(
    plan.seed,
    names,
    draws.map(({ place }) => place),
    task,
  );
  const ofSource = sources.map((_, place) => draws.filter((draw) => draw.place === place));
  const rows = new Map();
  const blocks = new Map();
  for (const [number, { place, pass, row }] of ofSource.flat().entries()) {
    const source = sources[place];
    const located = source.locate(pass, row);
    if (located.ordinal !== null) rows.set(`${source.number}/${pass}/${located.ordinal}`, order[number]);
    else listAt(blocks, `${source.number}/${pass}/${located.block}`).push({ ...located, slot: order[number] });
  }
  const slots = new Map();
  const unsure = new Map();
  const byNumber = new Map(sources.map((source) => [source.number, source]));
  for (const document of documents) {
    const { source, pass, rowOrdinal } = document;
    const slot = rows.get(`${source}/${pass}/${rowOrdinal}`);
    const block = `${source}/${pass}/${byNumber.get(source).blockOf(rowOrdinal)}`;
    if (slot !== undefined) slots.set(document, slot);
    else if (blocks.has(block)) listAt(unsure, block).push(document);
    else say(`${describe(document)} is not among the task's draws`);
  }
  for (const [block, own] of unsure) {
    const places = blocks.get(block).sort((a, b) => a.number - b.number);
    if (own.length > places.length)
      say(`${describe(own[0])} is one of ${own.length} of its block, for ${places.length} draws`);
    if (own.length !== places.length) continue;
    own.sort((a, b) => Number(a.rowOrdinal - b.rowOrdinal));
    for (const [place, document] of own.entries()) slots.set(document, places[place].slot);
  }
  return slots;
}

function listAt(map, key) {
  if (!map.has(key)) map.set(key, []);
  return map.get(key);
}

function checkBestFit({ documents, slots, sequences, length }, say) {
  const ordered = [...documents].sort((a, b) => slots.get(a) - slots.get(b));
  const packed = packBestFit(
    ordered.map(({ segments }) => sumOfLengths(segments)),
    length,
  );
  const isSame = (document, segment) =>
    document.source === segment.source && document.rowOrdinal === segment.rowOrdinal && document.pass === segment.pass;
  const fits =
    packed.length === sequences.length &&
    packed.every((pieces, index) => {
      const { segments } = sequences[index];
      return (
        pieces.length === segments.length &&
        pieces.every(({ document, start, length: size }, place) => {
          const segment = segments[place];
          return isSame(ordered[document], segment) && segment.start === start && segment.to - segment.from === size;
        })
      );
    });
  if (!fits) say("sequences are not those that best-fit packing makes");
}

// Reads a shard and holds it against section 2 of format.md: schema, batches, digests, and the rules for every sequence.

import { createHash } from "node:crypto";

import { RecordBatchReader, Type } from "apache-arrow";
import { createXXHash128, xxhash128 } from "hash-wasm";

import { BadData } from "./json.mjs";

const MAGIC = "ARROW1";
const PADDING = -1;
const NONE = -100;

const INTEGERS = { int16: 16, int32: 32, int64: 64 };
const LISTS = ["cu_seqlens", "segment_source", "segment_row", "segment_pass", "segment_start"];
const FIELDS = [
  ["input_ids", "fixed_size_list", "int32"],
  ["next_id", "scalar", "int32"],
  ["num_pad", "scalar", "int32"],
  ["cu_seqlens", "list", "int32"],
  ["segment_source", "list", "int16"],
  ["segment_row", "list", "int64"],
  ["segment_pass", "list", "int32"],
  ["segment_start", "list", "int32"],
];

/**
 * The columns of a shard: `numRows`, `input_ids` end to end, `next_id`, `num_pad`, and for each list column `lengths` and
 * `values`. Refuses a file that is not as the page says.
 */
export function readColumns(bytes, { length, batch_sequences }) {
  const ends = [bytes.subarray(0, MAGIC.length), bytes.subarray(-MAGIC.length)];
  if (!ends.every((end) => Buffer.from(end).toString("latin1") === MAGIC))
    throw new BadData("is not an Arrow IPC file");
  const { schema, batches } = readArrow(bytes);
  checkSchema(schema, Number(length));
  const numBatch = Number(batch_sequences);
  for (const [index, batch] of batches.entries()) {
    const fits =
      index + 1 < batches.length ? batch.numRows === numBatch : batch.numRows >= 1 && batch.numRows <= numBatch;
    if (!fits) throw new BadData(`has a record batch of ${batch.numRows} rows, number ${index}, for ${numBatch}`);
  }
  if (batches.length === 0) throw new BadData("has no record batch");
  const columns = { numRows: batches.reduce((sum, { numRows }) => sum + numRows, 0) };
  for (const [index, [name, kind]] of FIELDS.entries()) {
    const parts = batches.map((batch) => batch.data.children[index]);
    if (parts.some((part) => part.nullCount > 0)) throw new BadData(`${name} has nulls`);
    columns[name] =
      kind === "list" ? readLists(parts, name) : joined(parts.map((part) => valuesOf(part, kind, Number(length))));
  }
  return columns;
}

function readArrow(bytes) {
  try {
    const reader = RecordBatchReader.from(bytes).open();
    const { schema } = reader; // Reading to the end closes the reader, which then forgets its schema.
    return { schema, batches: [...reader] };
  } catch (error) {
    // The library has no error class of its own for bytes that it cannot read.
    throw new BadData(`cannot be read as Arrow: ${error.message}`);
  }
}

function checkSchema(schema, length) {
  const version = schema.metadata.get("mixer.format_version");
  if (version !== "2")
    throw new BadData(`has the metadata mixer.format_version ${JSON.stringify(version ?? null)}, not "2"`);
  const names = schema.fields.map(({ name }) => name);
  if (names.join() !== FIELDS.map(([name]) => name).join()) throw new BadData(`has the fields ${names.join(", ")}`);
  for (const [index, [name, kind, item]] of FIELDS.entries()) {
    const { type, nullable } = schema.fields[index];
    if (nullable) throw new BadData(`${name} is nullable`);
    if (!isType(type, kind, item, length)) throw new BadData(`${name} has the type ${type}`);
  }
}

function isType(type, kind, item, length) {
  if (kind === "scalar") return type.typeId === Type.Int && type.bitWidth === INTEGERS[item] && type.isSigned;
  if (kind === "fixed_size_list" && (type.typeId !== Type.FixedSizeList || type.listSize !== length)) return false;
  if (kind === "list" && type.typeId !== Type.List) return false;
  const [field] = type.children;
  return field.name === "item" && !field.nullable && isType(field.type, "scalar", item, length);
}

function valuesOf(part, kind, length) {
  if (kind === "scalar") return part.values.subarray(0, part.length);
  return part.children[0].values.subarray(0, part.length * length);
}

function readLists(parts, name) {
  const lengths = [];
  const values = [];
  for (const part of parts) {
    const offsets = part.valueOffsets.subarray(0, part.length + 1);
    for (let row = 0; row < part.length; row += 1) lengths.push(offsets[row + 1] - offsets[row]);
    const [child] = part.children;
    if (child.nullCount > 0) throw new BadData(`${name} has nulls in its lists`);
    if (lengths.some((length) => length < 0) || offsets.at(-1) > child.length)
      throw new BadData(`${name} has wrong offsets`);
    values.push(child.values.subarray(offsets[0], offsets.at(-1)));
  }
  return { lengths: Int32Array.from(lengths), values: joined(values) };
}

function joined(arrays) {
  const result = new arrays[0].constructor(arrays.reduce((sum, array) => sum + array.length, 0));
  let place = 0;
  for (const array of arrays) {
    result.set(array, place);
    place += array.length;
  }
  return result;
}

/** The digests of a shard's content. */
export async function digestsOfContent(columns) {
  const xxh3 = await createXXHash128();
  const sha = createHash("sha256");
  for (const part of contentOf(columns)) {
    const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    xxh3.update(bytes);
    sha.update(bytes);
  }
  return { content_xxh3: xxh3.digest("hex"), content_sha256: sha.digest("hex") };
}

// Typed arrays have the order of the machine's bytes, which is little-endian wherever Node runs Arrow's library.
function contentOf(columns) {
  const { input_ids, next_id, num_pad } = columns;
  return [input_ids, next_id, num_pad, ...LISTS.flatMap((name) => [columns[name].lengths, columns[name].values])];
}

/** The xxh3-128 of a file's bytes. */
export function digestOfFile(bytes) {
  return xxhash128(bytes);
}

/**
 * The sequences of a shard, each with `row` (its number in the shard) and its `segments`, which have `source`, `rowOrdinal`,
 * `pass`, `start` (in the document), `from` and `to` (in the sequence). Refuses sequences that break rules 1, 2, 3 or 6.
 */
export function readSequences(columns, { length, numSources, vocabSize, padId }) {
  const { cu_seqlens: borders, segment_source: sources } = columns;
  const sequences = [];
  let [border, run] = [0, 0];
  for (let row = 0; row < columns.numRows; row += 1) {
    const refuse = (text) => {
      throw new BadData(`sequence ${row}: ${text}`);
    };
    const numRuns = borders.lengths[row] - 1;
    const cu = borders.values.subarray(border, border + numRuns + 1);
    if (numRuns < 1 || cu[0] !== 0 || cu[numRuns] !== length) refuse("cu_seqlens do not go from 0 to the length");
    if (cu.some((value, place) => place > 0 && value <= cu[place - 1])) refuse("cu_seqlens do not rise");
    for (const name of LISTS.slice(1)) {
      if (columns[name].lengths[row] !== numRuns) refuse(`${name} does not have one value for each run`);
    }
    const ids = columns.input_ids.subarray(row * length, (row + 1) * length);
    if (ids.some((id) => id < 0 || id >= vocabSize)) refuse("input_ids are not all in the vocabulary");
    const segments = [];
    for (let number = 0; number < numRuns; number += 1) {
      const place = run + number;
      const source = sources.values[place];
      if (source < PADDING || source >= numSources) refuse(`segment_source has ${source}`);
      if (source !== PADDING) segments.push(segmentAt(columns, place, cu[number], cu[number + 1], refuse));
      else checkPadding(columns, { row, place, isLast: number === numRuns - 1, from: cu[number], ids, padId }, refuse);
    }
    if (segments.length === 0) refuse("is padding alone");
    if (segments.length === numRuns && columns.num_pad[row] !== 0) refuse("num_pad is not 0, but no run is padding");
    const next = columns.next_id[row];
    if (next !== NONE && (next < 0 || next >= vocabSize)) refuse("next_id is not in the vocabulary");
    if (next !== NONE && columns.num_pad[row] > 0) refuse("next_id is not -100, but the sequence has padding");
    sequences.push({ row, ids, next, numPad: columns.num_pad[row], segments });
    border += numRuns + 1;
    run += numRuns;
  }
  return sequences;
}

function segmentAt(columns, place, from, to, refuse) {
  const segment = {
    source: columns.segment_source.values[place],
    rowOrdinal: columns.segment_row.values[place],
    pass: columns.segment_pass.values[place],
    start: columns.segment_start.values[place],
    from,
    to,
  };
  if (segment.rowOrdinal < 0n || segment.pass < 0 || segment.start < 0)
    refuse("a segment has a negative row, pass or start");
  return segment;
}

function checkPadding(columns, { row, place, isLast, from, ids, padId }, refuse) {
  if (!isLast) refuse("padding is not its last run");
  if (ids.length - from !== columns.num_pad[row]) refuse("num_pad is not the length of the padding");
  if (ids.subarray(from).some((id) => id !== padId)) refuse("padding has other ids than pad_id");
  const { segment_row, segment_pass, segment_start } = columns;
  if (segment_row.values[place] !== -1n || segment_pass.values[place] !== -1 || segment_start.values[place] !== 0) {
    refuse("padding has a row, pass or start");
  }
}

/** Refuses sequences of a task in packing `concat` that break rules 4 or 5. `isCutShort`: its stream goes on after them. */
export function checkConcat(sequences, isCutShort) {
  for (const [index, { row, segments, next, numPad }] of sequences.entries()) {
    const refuse = (text) => {
      throw new BadData(`sequence ${row}: ${text}`);
    };
    const after = sequences[index + 1];
    if (after !== undefined && next !== after.ids[0]) refuse("next_id is not the first id of the next sequence");
    if (after === undefined && (next !== NONE) !== isCutShort) refuse(`next_id is ${next}, but it is the task's last`);
    if (after !== undefined && numPad > 0) refuse("has padding, but is not the task's last");
    if (segments.slice(1).some(({ start }) => start !== 0))
      refuse("a segment after its first does not begin a document");
    const before = sequences[index - 1]?.segments.at(-1);
    const [first] = segments;
    if (first.start !== 0 && (before === undefined || !goesOn(before, first)))
      refuse("does not go on where the sequence before stopped");
  }
}

/** Whether a segment goes on exactly where another one stopped. */
export function goesOn(before, segment) {
  return sameDraw(before, segment) && segment.start === before.start + before.to - before.from;
}

function sameDraw(one, other) {
  return one.source === other.source && one.rowOrdinal === other.rowOrdinal && one.pass === other.pass;
}

/** The documents of a task, in the order of their first segments: the draw, and its `segments` by start. */
export function documentsOf(sequences) {
  const documents = new Map();
  for (const sequence of sequences) {
    for (const segment of sequence.segments) {
      const { source, rowOrdinal, pass } = segment;
      const key = `${source}/${rowOrdinal}/${pass}`;
      if (!documents.has(key)) documents.set(key, { source, rowOrdinal, pass, segments: [] });
      documents.get(key).segments.push({ ...segment, sequence });
    }
  }
  for (const { segments } of documents.values()) segments.sort((a, b) => a.start - b.start);
  return [...documents.values()];
}

// The shapes of a build's JSON files, as the tables in sections 4 to 6 of format.md give them. Other keys are ignored.

import { BadData } from "./json.mjs";

const LARGEST = 2n ** 63n - 1n;

/** Refuses a value that does not have a shape; `where` is the path of the value in its file. */
export function checkShape(value, shape, where = "") {
  const wrong = shape(value, where);
  if (wrong !== null) throw new BadData(wrong);
}

// A shape is a function of a value and its path that returns null, or what is wrong.
function scalar(what, holds) {
  return (value, where) => (holds(value) ? null : `${where} is not ${what}`);
}

function object(fields) {
  return (value, where) => {
    if (!isObject(value)) return `${where || "the file"} is not an object`;
    for (const [key, shape] of Object.entries(fields)) {
      const path = where ? `${where}.${key}` : key;
      const wrong = key in value ? shape(value[key], path) : `${path} is missing`;
      if (wrong !== null) return wrong;
    }
    return null;
  };
}

function list(shape, length = null) {
  return (value, where) => {
    if (!Array.isArray(value)) return `${where} is not a list`;
    if (length !== null && value.length !== length) return `${where} does not have ${length} items`;
    return first(value.map((item, place) => () => shape(item, `${where}[${place}]`)));
  };
}

function mapOf(shape) {
  return (value, where) => {
    if (!isObject(value)) return `${where} is not an object`;
    return first(Object.keys(value).map((key) => () => shape(value[key], `${where}.${key}`)));
  };
}

function nullable(shape) {
  return (value, where) => (value === null ? null : shape(value, where));
}

function first(checks) {
  for (const check of checks) {
    const wrong = check();
    if (wrong !== null) return wrong;
  }
  return null;
}

function isObject(value) {
  return value !== null && typeof value === "object" && Object.getPrototypeOf(value) === null;
}

function isInteger(value, smallest, largest = LARGEST) {
  return typeof value === "bigint" && value >= smallest && value <= largest;
}

function hexadecimal(digits) {
  const pattern = new RegExp(`^[0-9a-f]{${digits}}$`);
  return scalar(`${digits} lower-case hexadecimal digits`, (value) => typeof value === "string" && pattern.test(value));
}

function oneOf(...names) {
  return scalar(names.join(" or "), (value) => names.includes(value));
}

const integer = scalar("an integer of 0 to 2^63 - 1", (value) => isInteger(value, 0n));
const positive = scalar("an integer of 1 to 2^63 - 1", (value) => isInteger(value, 1n));
const int32 = scalar("an integer of 0 to 2^31 - 1", (value) => isInteger(value, 0n, 2n ** 31n - 1n));
const positive32 = scalar("an integer of 1 to 2^31 - 1", (value) => isInteger(value, 1n, 2n ** 31n - 1n));
const text = scalar("a string", (value) => typeof value === "string");
const flag = scalar("true or false", (value) => typeof value === "boolean");
const sha256 = hexadecimal(64);
const xxh3 = hexadecimal(32);
const range = (value, where) =>
  list(integer, 2)(value, where) ?? (value[0] <= value[1] ? null : `${where} ends before it starts`);

const cut = object({ task: int32, draws: positive, sequences: integer });
const checked = object({ documents: integer, different: integer });
const file = object({ bytes: positive, xxh3, state: oneOf("present", "deleted") });

const epochs = object({ count: positive, mode: oneOf("reshuffle", "redraw") });

const counts = object({
  rows: integer,
  documents: integer,
  skipped: mapOf(integer),
  text_bytes: integer,
  tokens: integer,
  tokens_left_out: integer,
  truncated_documents: integer,
});

const stage = object({
  first_task: int32,
  first_draw: integer,
  weights: oneOf("rows", "tokens"),
  task_tokens: positive,
  draws_per_task: positive32,
  sequence: object({
    length: positive32,
    packing: oneOf("concat", "best-fit"),
    bos: flag,
    eos: flag,
    batch_sequences: positive32,
  }),
  recipe: object({ sources: mapOf(object({})), sequence: object({}) }),
  sources: list(
    object({ source: int32, weight: positive, selection: sha256, first_draw: integer, pass_rows: list(integer) }),
  ),
});

const plan = {
  features: list(text),
  name: text,
  recipe: object({ name: text, seed: integer, tokenizer: text, epochs }),
  tokenizer: object({
    name: text,
    fingerprint: text,
    vocab_size: positive32,
    bos_id: nullable(int32),
    eos_id: nullable(int32),
    pad_id: int32,
  }),
  seed: integer,
  split: oneOf("train"),
  parent: nullable(object({ prefix_id: sha256, task: int32, draw: integer })),
  sources: list(object({ name: text, snapshot: sha256, num_rows: integer })),
  stages: list(stage),
};

/** The fields of a plan that the manifest repeats. */
export const PLAN_FIELDS = Object.keys(plan);

export const PLAN = object({ id: sha256, ...plan });

export const RECORD = object({
  digest: sha256,
  plan: sha256,
  task: int32,
  stage: int32,
  draws: range,
  limit: nullable(object({ kind: oneOf("tokens", "sequences"), amount: positive })),
  cut: nullable(cut),
  sequences: int32,
  tokens: integer,
  padding: integer,
  counts: list(counts),
  reference_check: checked,
  content_xxh3: nullable(xxh3),
  content_sha256: nullable(sha256),
  file: nullable(file),
});

export const MANIFEST = object({
  id: sha256,
  ...plan,
  plan: sha256,
  prefix_id: sha256,
  cuts: list(cut),
  counts: list(object({ stage: int32, tasks: range, draws: range, sources: list(counts) })),
  shards: list(
    object({
      task: int32,
      stage: int32,
      draws: range,
      sequences: positive32,
      tokens: integer,
      padding: integer,
      content_xxh3: xxh3,
      content_sha256: sha256,
      file,
    }),
  ),
  epochs,
  totals: object({
    draws: integer,
    documents: integer,
    text_bytes: integer,
    sequences: integer,
    tokens: integer,
    padding: integer,
    tokens_left_out: integer,
    truncated_documents: integer,
  }),
  reference_check: checked,
});

export const SNAPSHOT = object({
  format: oneOf("parquet", "arrow", "jsonl", "csv", "tsv", "text", "text-lines", "text-paragraphs"),
  files: list(object({ path: text, bytes: integer, rows: list(integer) })),
});

export const SELECTION = object({ kept: nullable(list(list(integer))) });

export const VERSIONED = object({ format_version: integer });

// Recomputes every vector that format.md prints, but those of curation, of which a build holds the result.

import { xxhash3 } from "hash-wasm";

import { canonical, identity, parseJson, sha256 } from "./json.mjs";
import { passOfDraw, slotsOfDocuments, sourcesOfDraws } from "./draws.mjs";
import { orderInGroups, orderOfEpoch } from "./order.mjs";
import { outputs, permutation, streamKey } from "./random.mjs";

const CURATION = "\n## 9. Curation";
const EPOCH = /^seed (\d+), epoch (\d+)/;

// What each kind of label asks for. A label's own numbers are the inputs; `memory` holds what the line above it had.
const KINDS = {
  canonical: {
    label: /^canonical JSON of (.*)$/,
    make: ([, text], memory) => [canonical((memory.value = json(text)))],
  },
  identity: { label: /^its identity$/, make: (_, memory) => [identity(memory.value)] },
  key: { label: /^key of (.*)$/, make: ([, text], memory) => [hex((memory.key = streamKey(json(text))), 32)] },
  outputs: {
    label: /^its first outputs$/,
    make: (_, memory, n) => outputs(memory.key, n).map((word) => hex(word, 16)),
  },
  permutation: { label: /^its permutation of (\d+)$/, make: ([, n], memory) => permutation(memory.key, Number(n)) },
  draws: { label: /^weights ([\d, ]+)$/, make: ([, weights], _, n) => take(sourcesOfDraws(integers(weights)), n) },
  passes: {
    label: /^pass_rows ([\d, ]+): passes of draws 0 to (\d+)$/,
    make: ([, rows, last], memory) => (memory.draws = drawsOf(integers(rows), Number(last))).map(({ pass }) => pass),
  },
  rows: { label: /^and their rows in the pass$/, make: (_, memory) => memory.draws.map(({ row }) => row) },
  attributes: {
    label: /^bool ((?:true|false)(?:, (?:true|false))*)$/,
    make: ([, values]) => ["sha256", sha256(Uint8Array.from(values.split(", "), (value) => Number(value === "true")))],
  },
  heldOut: {
    label: /^fraction 0\.5, texts "(\d+)" to "(\d+)", held out$/,
    make: async ([, first, last]) => {
      const held = [];
      for (let text = Number(first); text <= Number(last); text += 1) {
        // The two halves of the seed 0x686f6c646f7574; half of all digests begin with a bit of 0.
        const digest = await xxhash3(String(text), 0x646f7574, 0x686f6c);
        if (BigInt(`0x${digest}`) >> 63n === 0n) held.push(text);
      }
      return held;
    },
  },
  slots: {
    label: /^slots of sources ([\d ]+), names (.*), seed (\d+), task (\d+): documents go to slots$/,
    make: ([, slots, names, seed, task]) =>
      slotsOfDocuments(BigInt(seed), names.split(/ and |, /), slots.split(" ").map(Number), BigInt(task)),
  },
  reshuffled: {
    label: /^seed \d+, epoch \d+, N = (\d+), positions 0 to \d+$/,
    make: (match, _, n) => take(orderOfEpoch({ ...epochOf(match), total: BigInt(match[1]), count: 1n }), n),
  },
  redrawn: {
    label: /^seed \d+, epoch \d+, redrawn, count (\d+), N = (\d+)$/,
    make: (match) => [...orderOfEpoch({ ...epochOf(match), count: BigInt(match[1]), total: BigInt(match[2]) })],
  },
  grouped: {
    // The name of the option that gives the size of a group comes before the last number.
    label: /^seed \d+, epoch \d+, shards of ([\d, ]+), \D+(\d+)$/,
    make: (match) => [
      ...orderInGroups({
        ...epochOf(match),
        shardSequences: integers(match[1]),
        groupShards: Number(match[2]),
        count: 1n,
      }),
    ],
  },
};

/** What is wrong with the vectors of a page: one text each. Vectors that are missing or not understood are wrong. */
export async function findWrongVectors(page) {
  const problems = [];
  const missing = new Set(Object.keys(KINDS));
  const memory = {};
  for (const line of page.split(CURATION)[0].split("\n").filter((text) => /^ {4}\S/.test(text))) {
    const { label, printed } = split(line.trim());
    const [kind, match] = kindOf(label);
    if (kind === undefined) {
      problems.push(`format.md: the vector "${label}" is not understood`);
      continue;
    }
    missing.delete(kind);
    const made = (await KINDS[kind].make(match, memory, printed.length)).map(String);
    if (made.join(" ") !== printed.join(" ")) {
      problems.push(`format.md: "${label}" is ${made.join(" ")}, but the page prints ${printed.join(" ")}`);
    }
  }
  for (const kind of missing) problems.push(`format.md: has no vector of the kind "${kind}"`);
  return problems;
}

// A label and its values are two or more spaces apart, or, where the label ends in words such as "go to slots", one.
function split(line) {
  const match = /^(.*?\S)\s{2,}(.*)$/.exec(line) ?? /^(.* slots) ([\d ]+)$/.exec(line);
  if (match === null) return { label: line, printed: [] };
  const values = match[2].replace(/\s*\.\.\.$/, "");
  return { label: match[1], printed: /^[{[]/.test(values) ? [values] : values.split(/\s+/) };
}

function kindOf(label) {
  for (const [kind, { label: pattern }] of Object.entries(KINDS)) {
    const match = pattern.exec(label);
    if (match !== null) return [kind, match];
  }
  return [undefined, undefined];
}

function json(text) {
  return parseJson(Buffer.from(text, "utf8"));
}

function hex(number, digits) {
  return `0x${number.toString(16).padStart(digits, "0")}`;
}

function integers(text) {
  return text.split(",").map((number) => BigInt(number.trim()));
}

function take(items, count) {
  const taken = [];
  while (taken.length < count) taken.push(items.next().value);
  return taken;
}

function drawsOf(passRows, last) {
  return Array.from({ length: last + 1 }, (_, draw) => passOfDraw(passRows, BigInt(draw)));
}

function epochOf(match) {
  const [, seed, epoch] = EPOCH.exec(match[0]);
  return { seed: BigInt(seed), epoch: BigInt(epoch) };
}

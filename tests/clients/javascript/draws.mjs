// Which row each draw takes, and in which order a task has its documents: sections 7.2 to 7.4 of format.md.

import { BadData } from "./json.mjs";
import { permutation, streamKey } from "./random.mjs";

/** The smallest BigInts in the proportion of decimals that are written without an exponent, such as "0.7". */
export function integerWeights(decimals) {
  const parts = decimals.map((text) => {
    const match = /^(\d+)(?:\.(\d+))?$/.exec(text);
    if (match === null) throw new BadData(`has the weight ${JSON.stringify(text)}, which is not a decimal`);
    return { whole: match[1], fraction: match[2] ?? "" };
  });
  const places = Math.max(...parts.map(({ fraction }) => fraction.length));
  const scaled = parts.map(({ whole, fraction }) => BigInt(whole + fraction.padEnd(places, "0")));
  const divisor = scaled.reduce(greatestCommonDivisor, 0n);
  return scaled.map((weight) => weight / divisor);
}

function greatestCommonDivisor(a, b) {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}

/** Yields the source (an index into `weights`, BigInts above 0) of draw 0, 1, ... of a stage, without end. */
export function* sourcesOfDraws(weights) {
  const sum = weights.reduce((a, b) => a + b, 0n);
  const turns = weights.map((weight) => turnOf(0n, weight, sum));
  for (let draw = 0n; ; draw += 1n) {
    let source = -1;
    for (const [candidate, turn] of turns.entries()) {
      if (turn.release <= draw && (source < 0 || turn.deadline < turns[source].deadline)) source = candidate;
    }
    turns[source] = turnOf(turns[source].drawn + 1n, weights[source], sum);
    yield source;
  }
}

function turnOf(drawn, weight, sum) {
  return { drawn, release: (drawn * sum) / weight, deadline: ((drawn + 1n) * sum + weight - 1n) / weight - 1n };
}

/** The pass and the row in the pass of draw k of a source, whose cycle of passes has `passRows` rows; all BigInts. */
export function passOfDraw(passRows, k) {
  const cycle = passRows.reduce((a, b) => a + b, 0n);
  if (cycle === 0n) throw new BadData("has a source whose passes have no rows");
  let pass = (k / cycle) * BigInt(passRows.length);
  let row = k % cycle;
  for (const rows of passRows) {
    if (row < rows) break;
    row -= rows;
    pass += 1n;
  }
  return { pass, row };
}

/** The blocks of a source in the order in which a pass takes them. */
export function blocksOfPass(seed, name, pass, numBlocks) {
  return permutation(streamKey([seed, "blocks", name, pass]), numBlocks);
}

/**
 * The slots of a task's documents, numbered source by source in draw order. `slots` has the source of each slot, which
 * is the source of the task's draw of that number; `names` has the names of the sources.
 */
export function slotsOfDocuments(seed, names, slots, task) {
  const result = [];
  for (const [source, name] of names.entries()) {
    const own = Array.from(slots.keys()).filter((slot) => slots[slot] === source);
    const order = permutation(streamKey([seed, "documents", name, task]), own.length);
    result.push(...order.map((place) => own[place]));
  }
  return result;
}

// A reader of mixer's builds, format version 2, written from mixer/format.md alone.
//
//   node read_build.mjs OUT                  checks a finished build
//   node read_build.mjs OUT --order EPOCH    prints the first 16 sequences of an epoch
//   node read_build.mjs --vectors PAGE       recomputes the vectors that format.md prints
//
// It prints one line of JSON. The exit code is 0 if all is fine, 1 if something is not, and 2 for wrong arguments.

import { readFileSync } from "node:fs";

import { checkBuild } from "./build.mjs";
import { loadManifest } from "./folder.mjs";
import { BadData } from "./json.mjs";
import { orderOfEpoch } from "./order.mjs";
import { findWrongVectors } from "./vectors.mjs";

const SHOWN_SEQUENCES = 16;
const USAGE = "usage: node read_build.mjs OUT [--order EPOCH] | node read_build.mjs --vectors PAGE";

async function main(args) {
  if (args.length === 1 && !args[0].startsWith("--")) return report(await checkBuild(args[0]));
  if (args.length === 2 && args[0] === "--vectors") {
    const problems = await findWrongVectors(readFileSync(args[1], "utf8"));
    return print(problems.length === 0 ? { fine: true } : { fine: false, problems });
  }
  if (args.length === 3 && args[1] === "--order" && /^\d+$/.test(args[2])) return printOrder(args[0], BigInt(args[2]));
  console.error(USAGE);
  return 2;
}

function report({ manifest, problems }) {
  if (problems.length > 0) return print({ fine: false, problems });
  const { id, totals } = manifest;
  return print({ fine: true, id, sequences: Number(totals.sequences), tokens: Number(totals.tokens) });
}

function printOrder(out, epoch) {
  let manifest;
  try {
    manifest = loadManifest(out);
  } catch (error) {
    if (!(error instanceof BadData)) throw error;
    return print({ fine: false, problems: [`manifest.json: ${error.message}`] });
  }
  const count = manifest.epochs.mode === "redraw" ? manifest.epochs.count : 1n;
  const order = orderOfEpoch({ seed: manifest.seed, epoch, total: manifest.totals.sequences, count });
  const sequences = [];
  for (const sequence of order) {
    if (sequences.push(Number(sequence)) === SHOWN_SEQUENCES) break;
  }
  return print({ fine: true, sequences });
}

function print(line) {
  console.log(JSON.stringify(line));
  return line.fine ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));

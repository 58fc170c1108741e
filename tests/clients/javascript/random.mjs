// Streams of random numbers and keyed permutations: section 7.1 of format.md.

import { identity } from "./json.mjs";

const MASK = 2n ** 64n - 1n;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const ROUNDS = 10;

/** The 128-bit key of the stream that `parts` ([seed, purpose, ...], integers as BigInts) names. */
export function streamKey(parts) {
  return BigInt(`0x${identity(parts).slice(0, 32)}`);
}

/** The first `count` 64-bit outputs of Philox4x64-10 with a key. The first block's counter is 1. */
export function outputs(key, count) {
  const words = [];
  for (let counter = 1n; words.length < count; counter += 1n) words.push(...block(key, counter));
  return words.slice(0, count);
}

// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, figure 2 and table 2.
function block(key, counter) {
  let [x0, x1, x2, x3] = [0n, 64n, 128n, 192n].map((shift) => (counter >> shift) & MASK);
  let [k0, k1] = [key & MASK, key >> 64n];
  for (let round = 0; round < ROUNDS; round += 1) {
    const product0 = x0 * MULTIPLIERS[0];
    const product1 = x2 * MULTIPLIERS[1];
    [x0, x1, x2, x3] = [(product1 >> 64n) ^ x1 ^ k0, product1 & MASK, (product0 >> 64n) ^ x3 ^ k1, product0 & MASK];
    [k0, k1] = [(k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK];
  }
  return [x0, x1, x2, x3];
}

/** The permutation of 0 .. n - 1 that a key makes: the order that sorts the first n outputs, ties by index. */
export function permutation(key, n) {
  const words = outputs(key, n);
  const order = Array.from(words.keys());
  return order.sort((a, b) => (words[a] < words[b] ? -1 : words[a] > words[b] ? 1 : a - b));
}

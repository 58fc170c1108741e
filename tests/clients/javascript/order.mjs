// The order of training: section 8 of format.md.

import { outputs, permutation, streamKey } from "./random.mjs";

const MASK = 2n ** 64n - 1n;
const ROUNDS = 6;

/** The permutation of n numbers under six 64-bit keys, as a function of the position; all BigInts. */
export function feistel(keys, n) {
  if (n <= 1n) return (position) => position;
  const bits = BigInt((n - 1n).toString(2).length);
  const lowBits = bits / 2n;
  return (position) => {
    let number = position;
    do number = network(keys, number, lowBits, bits - lowBits);
    while (number >= n);
    return number;
  };
}

function network(keys, number, lowBits, highBits) {
  let [low, high] = [number & ones(lowBits), number >> lowBits];
  let [lowWidth, highWidth] = [lowBits, highBits];
  for (const key of keys) {
    [low, high] = [high ^ (mix(low + key) & ones(highWidth)), low];
    [lowWidth, highWidth] = [highWidth, lowWidth];
  }
  return (high << lowWidth) | low;
}

function ones(bits) {
  return (1n << bits) - 1n;
}

function mix(word) {
  let x = word & MASK;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

/** The range [start, stop) of sequences that an epoch reads, of `total` in all; `count` is 1 in mode `reshuffle`. */
export function rangeOfEpoch(epoch, total, count) {
  const part = epoch % count;
  return { start: (part * total) / count, stop: ((part + 1n) * total) / count };
}

/** Yields the sequences of an epoch in the order of training. `count` is 1 in mode `reshuffle`; all BigInts. */
export function* orderOfEpoch({ seed, epoch, total, count }) {
  const { start, stop } = rangeOfEpoch(epoch, total, count);
  const place = feistel(keysOf(seed, epoch, 0n), stop - start);
  for (let position = 0n; position < stop - start; position += 1n) yield start + place(position);
}

/** Yields the sequences of an epoch in the order of training, with the shards permuted and cut into groups of `groupShards`. */
export function* orderInGroups({ seed, epoch, shardSequences, count, groupShards }) {
  const total = shardSequences.reduce((a, b) => a + b, 0n);
  const range = rangeOfEpoch(epoch, total, count);
  const shards = [];
  let first = 0n;
  for (const sequences of shardSequences) {
    const start = first > range.start ? first : range.start;
    const stop = first + sequences < range.stop ? first + sequences : range.stop;
    if (start < stop) shards.push({ start, length: stop - start });
    first += sequences;
  }
  if (groupShards >= shards.length) {
    yield* orderOfEpoch({ seed, epoch, total, count });
    return;
  }
  const order = permutation(streamKey([seed, "order of shards", epoch]), shards.length);
  for (let group = 0; group * groupShards < shards.length; group += 1) {
    const members = order.slice(group * groupShards, (group + 1) * groupShards).map((shard) => shards[shard]);
    const length = members.reduce((sum, member) => sum + member.length, 0n);
    const place = feistel(keysOf(seed, epoch, BigInt(group) + 1n), length);
    for (let position = 0n; position < length; position += 1n) yield sequenceAt(members, place(position));
  }
}

function sequenceAt(members, number) {
  let rest = number;
  for (const { start, length } of members) {
    if (rest < length) return start + rest;
    rest -= length;
  }
  throw new RangeError(`no sequence ${number} in the group`);
}

function keysOf(seed, epoch, stream) {
  return outputs(streamKey([seed, "order", epoch, stream]), ROUNDS);
}

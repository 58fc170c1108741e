// JSON with exact integers, its canonical form, and identities: section 3 of format.md.

import { createHash } from "node:crypto";

const LARGEST = 2n ** 63n - 1n;
const MAX_DEPTH = 100;
// JSON's own grammar; sticky, so that the parser can ask at a position.
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;
const LITERALS = [
  ["null", null],
  ["true", true],
  ["false", false],
];

/** Says that bytes are not what the page asks of them. */
export class BadData extends Error {}

/**
 * The value of JSON text in UTF-8. Integers are BigInts and decimals are Decimals: JSON.parse would round seeds of 63 bits.
 * Objects have no prototype, and a key that comes twice is refused, because readers disagree about which one holds.
 */
export function parseJson(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new BadData("is not UTF-8");
  }
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.take(SPACE);
  if (parser.place < text.length) parser.fail();
  return value;
}

/** A number that is not an integer, as it was written. Only hints hold any. */
export class Decimal {
  constructor(text) {
    this.text = text;
  }
}

class Parser {
  constructor(text) {
    this.text = text;
    this.place = 0;
  }

  fail() {
    throw new BadData(`is not JSON at character ${this.place}`);
  }

  take(pattern) {
    pattern.lastIndex = this.place;
    const match = pattern.exec(this.text);
    if (match === null) this.fail();
    this.place = pattern.lastIndex;
    return match;
  }

  takes(token) {
    this.take(SPACE);
    const found = this.text.startsWith(token, this.place);
    if (found) this.place += token.length;
    return found;
  }

  value(depth) {
    if (depth > MAX_DEPTH) throw new BadData(`has values more than ${MAX_DEPTH} levels deep`);
    if (this.takes("{")) return this.object(depth);
    if (this.takes("[")) return this.list(depth);
    if (this.text[this.place] === '"') return this.string();
    for (const [token, value] of LITERALS) if (this.takes(token)) return value;
    const [number, fraction, exponent] = this.take(NUMBER);
    if (fraction !== undefined || exponent !== undefined) return new Decimal(number);
    return BigInt(number);
  }

  string() {
    return JSON.parse(this.take(STRING)[0]);
  }

  list(depth) {
    const items = [];
    if (this.takes("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.takes(","));
    if (!this.takes("]")) this.fail();
    return items;
  }

  object(depth) {
    const entries = Object.create(null);
    if (this.takes("}")) return entries;
    do {
      this.take(SPACE);
      const key = this.string();
      if (key in entries) throw new BadData(`has the key ${JSON.stringify(key)} twice in one object`);
      if (!this.takes(":")) this.fail();
      entries[key] = this.value(depth + 1);
    } while (this.takes(","));
    if (!this.takes("}")) this.fail();
    return entries;
  }
}

/** Compares strings by code point; JavaScript's own order is by UTF-16 unit. */
export function byCodePoint(one, other) {
  return Buffer.compare(Buffer.from(one, "utf8"), Buffer.from(other, "utf8"));
}

/** The canonical JSON of a parsed value. */
export function canonical(value) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "bigint") {
    if (value < 0n || value > LARGEST) throw new BadData(`has the integer ${value}, which is not in 0 to 2^63 - 1`);
    return String(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new BadData("has a string with a lone surrogate");
    return JSON.stringify(value); // It escapes what JSON requires and nothing else, in the form that the page asks for.
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value instanceof Decimal) throw new BadData(`has the number ${value.text}, which is not an integer`);
  const keys = Object.keys(value).sort(byCodePoint);
  return `{${keys.map((key) => `${canonical(key)}:${canonical(value[key])}`).join(",")}}`;
}

export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The identity of a parsed value: the sha256 of its canonical JSON. */
export function identity(value) {
  return sha256(Buffer.from(canonical(value), "utf8"));
}

/** A copy of an object without some of its keys. */
export function without(value, ...keys) {
  const rest = Object.assign(Object.create(null), value);
  for (const key of keys) delete rest[key];
  return rest;
}

/** Whether two parsed values are the same. */
export function same(one, other) {
  return canonical(one) === canonical(other);
}

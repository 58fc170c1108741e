// Loads the files of a build's folder and refuses those that are not what their names and digests say: sections 1, 3 to 5.

import { lstatSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { BadData, canonical, identity, parseJson, sha256, without } from "./json.mjs";
import { MANIFEST, PLAN, RECORD, SELECTION, SNAPSHOT, VERSIONED, checkShape } from "./shapes.mjs";

const VERSION = 2n;
const TEMPORARY = /^\..*\.tmp$/;

/** Collects problems; `attempt` turns bad data in one place into a problem and goes on. */
export class Problems {
  texts = [];

  add(where, text) {
    this.texts.push(`${where}: ${text}`);
  }

  attempt(where, action) {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof BadData)) throw error;
      this.add(where, error.message);
      return null;
    }
  }
}

/** The name of a task's file without its ending. */
export function numbered(task) {
  return String(task).padStart(5, "0");
}

/** The bytes of a regular file. */
export function readRegular(path) {
  let stat;
  try {
    stat = lstatSync(path);
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw new BadData("is missing");
    throw error;
  }
  if (!stat.isFile()) throw new BadData("is not a regular file");
  // A copy of its own is aligned as Arrow wants it; Node's small buffers lie anywhere in a shared pool.
  return new Uint8Array(readFileSync(path));
}

export function loadManifest(out) {
  const manifest = load(join(out, "manifest.json"), "mixer");
  checkShape(manifest, MANIFEST);
  const shards = manifest.shards.map((shard) => without(shard, "file"));
  checkDigest("id", manifest.id, { ...without(manifest, "id", "hints", "reference_check"), shards });
  return manifest;
}

export function loadPlan(out) {
  const plan = load(join(out, "plan.json"), "mixer-plan");
  checkShape(plan, PLAN);
  checkDigest("id", plan.id, without(plan, "id", "hints"));
  return plan;
}

export function loadRecord(out, task) {
  const record = load(join(out, "tasks", `${numbered(task)}.json`), null);
  checkShape(record, RECORD);
  checkDigest("digest", record.digest, without(record, "digest"));
  if (record.task !== BigInt(task)) throw new BadData(`is the record of task ${record.task}`);
  return record;
}

export function loadSnapshot(out, digest) {
  return loadByDigest(join(out, "snapshots", `${digest}.json`), digest, SNAPSHOT);
}

export function loadSelection(out, digest) {
  return loadByDigest(join(out, "selections", `${digest}.json`), digest, SELECTION);
}

/** The names in a folder that only holds numbered files, without those that are being written. */
export function listNumbered(out, folder) {
  try {
    return readdirSync(join(out, folder)).filter((name) => !TEMPORARY.test(name));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    if (error.code === "ENOTDIR") throw new BadData("is not a folder");
    throw error;
  }
}

// A version or feature that is not known comes before every other complaint: the rest of the file may look different.
function load(path, format) {
  const value = parseJson(readRegular(path));
  checkShape(value, VERSIONED);
  if (value.format_version !== VERSION) {
    throw new BadData(`has the format version ${value.format_version}; this reader knows ${VERSION}`);
  }
  if (format !== null && value.format !== format) throw new BadData(`has a format other than "${format}"`);
  const features = Array.isArray(value.features) ? value.features : [];
  if (features.length > 0) throw new BadData(`uses features that this reader does not know: ${features.join(", ")}`);
  return value;
}

function checkDigest(key, written, value) {
  const made = identity(value);
  if (made !== written) throw new BadData(`${key} is ${written}, but that of the content is ${made}`);
}

function loadByDigest(path, digest, shape) {
  const bytes = readRegular(path);
  const made = sha256(bytes);
  if (made !== digest) throw new BadData(`has the sha256 ${made}`);
  const value = parseJson(bytes);
  if (canonical(value) !== Buffer.from(bytes).toString("utf8")) throw new BadData("is not canonical JSON");
  checkShape(value, shape);
  return value;
}

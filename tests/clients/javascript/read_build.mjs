import { readFileSync } from "node:fs";
import { findWrongVectors } from "./vectors.mjs";
console.log(findWrongVectors(readFileSync(process.argv[2], "utf8")));

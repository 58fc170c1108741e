// What a plan says of itself: sections 3, 4.1 and 7.2 of format.md.

import { integerWeights, smallest } from "./draws.mjs";
import { byCodePoint, identity, same, without } from "./json.mjs";

// The keys of a recipe that do not say which rows there are and what becomes of them.
const NOT_OF_STAGES = ["name", "seed", "tokenizer", "target", "epochs", "when_exhausted", "max_passes", "task_tokens"];
const STAGE_SEQUENCE = ["length", "packing", "bos", "eos"];

/** The prefix id of a task. */
export function prefixIdOf(plan, cuts, task) {
  const stages = plan.stages.filter((stage) => stage.first_task < task);
  const named = new Set(stages.flatMap((stage) => stage.sources.map(({ source }) => source)));
  return identity({
    format_version: plan.format_version,
    features: plan.features,
    seed: plan.seed,
    split: plan.split,
    tokenizer: without(plan.tokenizer, "name"),
    sources: plan.sources.filter((_, number) => named.has(BigInt(number))),
    stages,
    cuts: cuts.filter((cut) => cut.task < task),
  });
}

/** Adds what does not agree within a plan. */
export function checkPlan(plan, problems) {
  const planSays = (holds, text) => holds || problems.add("plan.json", text);
  planSays(plan.name === plan.recipe.name, "name is not the recipe's");
  planSays(plan.seed === plan.recipe.seed, "seed is not the recipe's");
  planSays(plan.stages.length > 0, "has no stage");
  planSays(plan.stages[0]?.first_task === 0n && plan.stages[0].first_draw === 0n, "stages[0] does not begin with 0");
  const names = plan.sources.map(({ name }) => name);
  planSays(new Set(names).size === names.length, "sources has a name twice");
  const numbering = [];
  for (const [index, stage] of plan.stages.entries()) {
    const where = `stages[${index}]`;
    const before = plan.stages[index - 1];
    if (before !== undefined) {
      planSays(before.first_task < stage.first_task, `${where} does not begin after the stage before`);
      planSays(before.sequence.length === stage.sequence.length, `${where} has a length of its own`);
      planSays(before.sequence.batch_sequences === stage.sequence.batch_sequences, `${where} has batches of its own`);
    }
    const sources = stage.sources.map(({ source }) => Number(source));
    const inOrder = sources.every((source, place) => place === 0 || sources[place - 1] < source);
    const known = sources.length > 0 && inOrder && sources.at(-1) < names.length;
    planSays(known, `${where}.sources are not numbers of sources in order`);
    if (!known) continue;
    numbering.push(...sources.filter((source) => !numbering.includes(source)).sort(byName(names)));
    const stageSays = (holds, text) => planSays(holds, `${where}.${text}`);
    const ownNames = sources.map((source) => names[source]);
    checkStageRecipe(stage, ownNames, stageSays);
    problems.attempt(`plan.json: ${where}.sources`, () => checkWeights(stage, ownNames, stageSays));
  }
  planSays(
    numbering.length === names.length && numbering.every((n, place) => n === place),
    "sources are not numbered by stage and name",
  );
  const last = plan.stages.at(-1)?.recipe;
  planSays(last !== undefined && same(last, recipeOfStage(plan.recipe)), "recipe is not that of the last stage");
}

function byName(names) {
  return (one, other) => byCodePoint(names[one], names[other]);
}

function recipeOfStage(recipe) {
  const rest = without(recipe, ...NOT_OF_STAGES);
  rest.sources = Object.assign(Object.create(null), rest.sources);
  for (const name of Object.keys(rest.sources)) rest.sources[name] = without(rest.sources[name], "max_passes");
  return rest;
}

function checkStageRecipe({ recipe, sequence, weights, sources }, names, stageSays) {
  const named = Object.keys(recipe.sources).sort(byCodePoint);
  stageSays(same(named, [...names].sort(byCodePoint)), "recipe has other sources");
  stageSays(recipe.weights === weights, "weights are of another kind than the recipe's");
  const isOfRecipe = STAGE_SEQUENCE.every((key) => same(recipe.sequence[key] ?? null, sequence[key]));
  stageSays(isOfRecipe, "sequence is not the recipe's");
  const haveRows = sources.every(({ pass_rows }) => pass_rows.some((rows) => rows > 0n));
  stageSays(haveRows, "sources has one whose passes have no rows");
}

// Weights in tokens come from a measured mean, so that they do not follow from the recipe.
function checkWeights({ recipe, weights, sources }, names, stageSays) {
  const written = sources.map(({ weight }) => weight);
  stageSays(same(written, smallest(written)), "sources have weights with a common divisor");
  if (weights !== "rows") return;
  const decimals = names.map((name) => recipe.sources[name]?.weight);
  const areTexts = decimals.every((weight) => typeof weight === "string");
  stageSays(areTexts, "recipe has weights that are not strings");
  if (!areTexts) return;
  const made = integerWeights(decimals);
  stageSays(same(written, made), "sources have other weights than the recipe's");
}

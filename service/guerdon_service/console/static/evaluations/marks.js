/** States and verdicts, marked alike wherever they stand. */
import { percent } from "../format.js";
import { badge } from "../parts.js";

const STATES = { done: "good", failed: "bad", running: "accent" };
const VERDICTS = { better: "good", "not worse": "good", worse: "bad", inconclusive: "fair" };

/** How far an evaluation is. */
export function stateMark({ state, done, total }) {
  const isRunning = state === "running" && total > 0;
  return badge(isRunning ? `${state}, ${percent(done / total, 0)}` : state, STATES[state]);
}

export function verdictMark(verdict) {
  return badge(verdict, VERDICTS[verdict]);
}

export function hasEnded({ state }) {
  return ["done", "failed", "cancelled"].includes(state);
}

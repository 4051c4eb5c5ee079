/** How far stored judgements agree with each other, and a model with the latest. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { count, interval, plain } from "../format.js";
import { notice, table } from "../parts.js";

/** Judgements come fast, and every look reads all that is stored. */
const PERIOD_MS = 5000;

/**
 * Draws what is known of all stored judgements; until that is read, what was known before stays.
 * `draw` looks at once, `drawSoon` no sooner than `PERIOD_MS` after the answer to its last look.
 * Answers may overtake each other: the last look alone draws.
 */
export function agreementView(box, signal) {
  let numLooks = 0;
  let timer;
  let isDue = false;
  let isWatching = false;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return { draw, drawSoon };

  async function draw() {
    const look = ++numLooks;
    if (!box.firstChild) fill(h("p", { class: "hint" }, "Reading \u2026"));
    let parts;
    try {
      parts = told(await ask("GET", "v1/feedback/agreement", { signal }));
    } catch (error) {
      parts = [notice(error)];
    }
    if (look === numLooks && !signal.aborted) fill(...parts);
  }

  async function drawSoon() {
    isDue = true;
    if (isWatching) return;
    isWatching = true;
    while (isDue) {
      isDue = false;
      await draw();
      await new Promise((resolve) => (timer = setTimeout(resolve, PERIOD_MS)));
    }
    isWatching = false;
  }

  function fill(...parts) {
    show(box, h("h2", {}, "Agreement so far"), ...parts);
  }
}

function told({ num_questions, alpha, accuracy, num_judgements }) {
  if (!alpha) return [h("p", { class: "hint" }, "No two judgements are about the same two answers yet.")];
  const rows = Object.entries(accuracy).map(([name, value]) => [
    name || "nobody named",
    String(num_judgements[name]),
    plain(value),
  ]);
  return [
    h(
      "p",
      {},
      `Krippendorff\u2019s alpha ${interval(alpha)} over ${count(num_questions, "question")} that two or more people judged.`,
    ),
    table("Annotators", [["Who"], ["Judgements", "number"], ["Reliability", "number"]], rows),
    h("p", { class: "hint" }, "Reliability: probability of the true label, by the model of Dawid and Skene."),
  ];
}

/** After the judging, so that it sways nobody: how often the model prefers the same answer. */
export function modelJudge(model, signal) {
  return async (judged) => {
    const decided = judged.filter(({ verdict }) => verdict !== "tie");
    if (!decided.length) return "";
    const pairs = decided.map(({ pair }) => ({ messages: pair.messages, a: pair.left, b: pair.right }));
    const { preferences } = await ask("POST", "v1/compare", { body: { model, pairs, lane: "bulk" }, signal });
    const same = preferences.filter(
      (it, i) => it.preferred === { left: "a", right: "b" }[decided[i].verdict],
    );
    return `${model} prefers the same answer in ${same.length} of ${decided.length}.`;
  };
}

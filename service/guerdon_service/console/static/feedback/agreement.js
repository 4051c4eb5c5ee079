/** How far stored judgements agree with each other, and a model with the latest. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { count, interval, plain } from "../format.js";
import { notice, table } from "../parts.js";

/** Judgements come fast, and every look reads all that is stored. */
const PERIOD_MS = 5000;

/** A function that draws anew: at once, and at most every `PERIOD_MS`. */
export function agreementWatch(box, signal) {
  let timer = null;
  let isDue = false;
  const look = () => {
    isDue = false;
    agreementView(box, signal);
    timer = setTimeout(() => {
      timer = null;
      if (isDue) look();
    }, PERIOD_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    if (timer === null) look();
    else isDue = true;
  };
}

/** Draw what is known of all stored judgements; until that is read, what was known before stays. */
export async function agreementView(box, signal) {
  if (!box.firstChild)
    show(box, h("h2", {}, "Agreement so far"), h("p", { class: "hint" }, "Reading \u2026"));
  try {
    const found = await ask("GET", "v1/feedback/agreement", { signal });
    show(box, h("h2", {}, "Agreement so far"), ...told(found));
  } catch (error) {
    if (!signal.aborted) show(box, h("h2", {}, "Agreement so far"), notice(error));
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
      `Krippendorff\u2019s alpha ${interval(alpha)} over ${count(num_questions, "question")} that were judged twice or more.`,
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

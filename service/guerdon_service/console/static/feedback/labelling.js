/** One pair after the other. */
import { h, show } from "../dom.js";
import { count } from "../format.js";
import { badge, button, notice } from "../parts.js";
import { modelJudge } from "./agreement.js";
import { HELD, Outbox } from "./outbox.js";
import { shuffled } from "./pairs.js";

const KEYS = {
  ArrowLeft: "left",
  1: "left",
  ArrowDown: "tie",
  2: "tie",
  t: "tie",
  ArrowRight: "right",
  3: "right",
  s: "skip",
  u: "undo",
};

export default function labelling({ pairs, annotator, model, signal, onEnd, onStored }) {
  const order = shuffled(pairs);
  const given = [];
  const errors = h("div");
  const sides = h("div");
  const status = h("p", { role: "status", class: "hint" });
  const progress = h("progress", { max: order.length, "aria-label": "Pairs judged" });
  const undoButton = button("Undo", undo, "");
  const judge = model ? modelJudge(model, signal) : null;
  const stored = () => {
    tell();
    onStored();
  };
  const outbox = new Outbox(stored, (error) => show(errors, notice(error)));
  const region = h(
    "section",
    {
      class: "card labelling",
      tabindex: -1,
      "aria-label": "Judge",
      "aria-keyshortcuts": "ArrowLeft ArrowDown ArrowRight 1 2 3 T S U",
    },
    progress,
    status,
    sides,
    h(
      "div",
      { class: "row choices" },
      choice("Left is better", "left", "\u2190"),
      choice("A tie", "tie", "\u2193"),
      choice("Right is better", "right", "\u2192"),
    ),
    h(
      "div",
      { class: "row between" },
      h(
        "div",
        { class: "row" },
        button("Skip", () => give("skip"), "quiet"),
        undoButton,
      ),
      button("Finish", finish, ""),
    ),
    h(
      "p",
      { class: "hint" },
      "Keys: \u2190 or 1, \u2193 or 2 or T, \u2192 or 3, S skips, U undoes. ",
      `The last ${HELD} judgements wait before they are sent, so that they can be undone.`,
    ),
    errors,
  );

  region.addEventListener("keydown", (event) => {
    const isUndo = event.key === "z" && (event.ctrlKey || event.metaKey);
    if (!isUndo && (event.ctrlKey || event.metaKey || event.altKey || event.repeat)) return;
    const verdict = isUndo ? "undo" : (KEYS[event.key] ?? KEYS[event.key.toLowerCase()]);
    if (!verdict) return;
    event.preventDefault();
    if (verdict === "undo") undo();
    else give(verdict);
  });
  addEventListener("pagehide", () => outbox.flushNow(), { signal });
  signal.addEventListener("abort", () => outbox.flushNow());
  draw();
  return region;

  function choice(name, verdict, key) {
    const made = button([name, " ", h("kbd", { "aria-hidden": "true" }, key)], () => give(verdict), "choice");
    made.setAttribute("aria-label", name);
    return made;
  }

  function give(verdict) {
    const pair = order[given.length];
    if (!pair) return;
    given.push({ pair, verdict });
    if (verdict !== "skip") outbox.add(judgement(pair, verdict, annotator));
    draw();
  }

  function undo() {
    const last = given.at(-1);
    if (!last || (last.verdict !== "skip" && !outbox.undo())) return;
    given.pop();
    draw();
  }

  async function finish() {
    if (!(await outbox.flush())) return;
    const judged = given.filter(({ verdict }) => verdict !== "skip");
    onEnd(
      [`${count(judged.length, "judgement")} stored.`, agreed(judged), judge && (await judge(judged))]
        .filter(Boolean)
        .join(" "),
    );
  }

  function tell() {
    const isLastHeld = given.at(-1)?.verdict === "skip" || outbox.numWaiting > 0;
    undoButton.disabled = !given.length || !isLastHeld;
    progress.value = given.length;
    status.textContent = `${given.length} of ${order.length} seen, ${outbox.numSent} stored, ${outbox.numWaiting} waiting`;
  }

  function draw() {
    const pair = order[given.length];
    for (const it of region.querySelectorAll(".choice")) it.disabled = !pair;
    show(
      sides,
      pair ? pairView(pair) : h("p", {}, "That was the last pair. Finish stores what still waits."),
    );
    tell();
    region.focus({ preventScroll: true });
  }
}

function pairView({ messages, left, right }) {
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "prompt" },
      messages.map(({ role, content }) =>
        h("p", { class: "text" }, messages.length > 1 && badge(role), messages.length > 1 && " ", content),
      ),
    ),
    h(
      "div",
      { class: "pair" },
      [
        ["Left", left],
        ["Right", right],
      ].map(([name, text]) =>
        h("div", { class: "answer" }, h("h2", {}, name), h("p", { class: "text" }, text)),
      ),
    ),
  );
}

function judgement({ messages, left, right }, verdict, annotator) {
  const [chosen, rejected] = verdict === "right" ? [right, left] : [left, right];
  const body = {
    messages,
    chosen,
    rejected,
    tie: verdict === "tie",
    shown: [left, right],
    tags: { source: "console" },
  };
  if (annotator) body.annotator = annotator;
  return body;
}

/** How often the judgements are those that the records had. */
function agreed(judged) {
  const known = judged.filter(({ pair, verdict }) => pair.label && verdict !== "tie");
  if (!known.length) return "";
  const same = known.filter(
    ({ pair, verdict }) => (verdict === "left") === (pair.isSwapped === (pair.label === "b")),
  );
  return `${same.length} of ${known.length} agree with the labels of the records.`;
}

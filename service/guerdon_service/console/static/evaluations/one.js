/** One evaluation: its progress as it goes on, then what it found. */
import { ask, events, text } from "../api.js";
import { h, show } from "../dom.js";
import { digest, when } from "../format.js";
import { button, facts, notice } from "../parts.js";
import { hasEnded, stateMark } from "./marks.js";
import report from "./report.js";

export default async function evaluationPage(view, id, signal) {
  const first = await ask("GET", `v1/evaluations/${encodeURIComponent(id)}`, { signal });
  const status = h("section", { class: "card", "aria-label": "Progress" });
  const found = h("div", { class: "stack" });
  view.append(
    h("p", {}, h("a", { href: "#/evaluations" }, "All evaluations")),
    h("h1", {}, title(first)),
    status,
    found,
  );
  draw(first);
  if (!hasEnded(first)) follow().catch((error) => signal.aborted || show(found, notice(error)));

  function draw(evaluation) {
    show(status, progress(evaluation, id, signal));
    if (evaluation.report) show(found, report(evaluation));
  }

  /** Not awaited: the page is drawn, and moves on its own. */
  async function follow() {
    for await (const { data } of events("GET", `v1/evaluations/${encodeURIComponent(id)}/events`, { signal }))
      draw(data);
  }
}

function title({ candidate, baseline }) {
  return baseline ? `${candidate} against ${baseline}` : candidate;
}

function progress(evaluation, id, signal) {
  const { done, total, dataset, dataset_sha256, created_at, error } = evaluation;
  const cancel = button(
    "Cancel",
    async () => {
      cancel.disabled = true;
      await ask("DELETE", `v1/evaluations/${encodeURIComponent(id)}`, { signal });
    },
    "danger",
  );
  const download = button("Download the report", () => save(id, signal), "");
  return [
    h(
      "div",
      { class: "row between" },
      h("p", { role: "status" }, stateMark(evaluation), ` ${done} of ${total || "?"} items scored`),
      hasEnded(evaluation) ? evaluation.report && download : cancel,
    ),
    !hasEnded(evaluation) &&
      h("progress", { max: total || 1, value: total ? done : null, "aria-label": "Items scored" }),
    error && notice(error),
    facts([
      ["Data", dataset],
      ["SHA-256", h("code", {}, digest(dataset_sha256))],
      ["Started", when(created_at)],
    ]),
  ];
}

/** The self-contained page, as a file: it has a script of its own, which this page's policy would not run. */
async function save(id, signal) {
  const page = await text(`v1/evaluations/${encodeURIComponent(id)}/report`, { signal });
  const url = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  h("a", { href: url, download: `evaluation-${id}.html` }).click();
  URL.revokeObjectURL(url);
}

/** Evaluations: start one, watch it, read what it found, hold two beside each other. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { interval, signed, when } from "../format.js";
import { button, table } from "../parts.js";
import beside from "../evaluations/beside.js";
import { hasEnded, stateMark, verdictMark } from "../evaluations/marks.js";
import evaluationPage from "../evaluations/one.js";
import startForm from "../evaluations/start.js";

const POLL_MS = 2000;

export default async function evaluations(view, [id, ...rest], signal) {
  if (id === "compare") return beside(view, rest, signal);
  if (id) return evaluationPage(view, id, signal);
  const { models } = await ask("GET", "v1/models", { signal });
  const list = h("section", { class: "card", "aria-label": "All evaluations" });
  view.append(h("h1", {}, "Evaluations"), startForm(models, signal), list);
  await keepListed(list, signal);
}
evaluations.title = "Evaluations";

/** The list, drawn again while anything in it moves. */
async function keepListed(list, signal) {
  const { evaluations: all } = await ask("GET", "v1/evaluations", { signal });
  draw(list, all);
  if (all.some((it) => !hasEnded(it))) {
    const timer = setTimeout(() => keepListed(list, signal).catch(() => {}), POLL_MS);
    signal.addEventListener("abort", () => clearTimeout(timer));
  }
}

function draw(list, all) {
  if (!all.length)
    return show(
      list,
      h("p", { class: "hint" }, "There are none yet; a model needs held-out preferences to be measured on."),
    );
  const chosen = new Set([...list.querySelectorAll("input:checked")].map((box) => box.value));
  const compare = button("Hold two beside each other", () => {
    location.hash = `#/evaluations/compare/${[...chosen].join("/")}`;
  });
  const update = () => (compare.disabled = chosen.size !== 2);
  update();
  const rows = all.map((it) => {
    const box = h("input", {
      type: "checkbox",
      value: it.id,
      checked: chosen.has(it.id),
      disabled: it.state !== "done",
      "aria-label": `Choose the evaluation of ${it.candidate} from ${when(it.created_at)}`,
    });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(it.id);
      else chosen.delete(it.id);
      update();
    });
    return [
      box,
      h("a", { href: `#/evaluations/${it.id}` }, it.candidate),
      it.baseline ?? "",
      it.dataset,
      stateMark(it),
      it.accuracy ? interval(it.accuracy) : "",
      it.num_items === null ? "" : String(it.num_items),
      it.verdict ? [verdictMark(it.verdict), " ", interval(it.delta, signed)] : "",
      when(it.created_at),
    ];
  });
  const columns = [
    [""],
    ["Candidate"],
    ["Baseline"],
    ["Data"],
    ["State"],
    ["Accuracy", "number"],
    ["Items", "number"],
    ["Verdict"],
    ["Started"],
  ];
  return show(list, table("Evaluations", columns, rows), h("div", { class: "row" }, compare));
}

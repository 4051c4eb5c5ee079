/** Two finished evaluations beside each other. */
import { ask } from "../api.js";
import { h } from "../dom.js";
import { interval, signed, when } from "../format.js";
import { notice, table } from "../parts.js";
import { verdictMark } from "./marks.js";
import { forest } from "./plots.js";

export default async function beside(view, ids, signal) {
  const both = await Promise.all(
    ids.slice(0, 2).map((id) => ask("GET", `v1/evaluations/${encodeURIComponent(id)}`, { signal })),
  );
  view.append(
    h("p", {}, h("a", { href: "#/evaluations" }, "All evaluations")),
    h("h1", {}, "Two evaluations"),
  );
  if (both.length !== 2 || both.some((it) => !it.report)) {
    view.append(notice("Choose two that are done."));
    return;
  }
  view.append(
    caveat(both),
    h("section", { class: "card" }, figures(both)),
    h("section", { class: "card" }, h("h2", {}, "Slices"), slices(both)),
  );
}

/** What the two may not be read as. */
function caveat([one, other]) {
  const isSameData = one.dataset_sha256 === other.dataset_sha256;
  const advice =
    "For a verdict, start an evaluation with one as the candidate and the other as the baseline: items are then paired.";
  return notice(
    isSameData
      ? `Both are about the same data. ${advice}`
      : `They are about different data, so their figures do not compare. ${advice}`,
    "fair",
  );
}

function figures(both) {
  const rows = [
    ["Model", ...both.map((it) => h("a", { href: `#/evaluations/${it.id}` }, it.candidate))],
    ["Data", ...both.map((it) => it.dataset)],
    ["Started", ...both.map((it) => when(it.created_at))],
    ["Items", ...both.map((it) => String(it.num_items))],
    ["Accuracy", ...both.map((it) => [interval(it.accuracy), forest(it.accuracy)])],
    [
      "Against",
      ...both.map((it) =>
        it.baseline
          ? [it.baseline, " ", verdictMark(it.verdict), " ", interval(it.delta, signed)]
          : "nothing",
      ),
    ],
    [
      "ECE",
      ...both.map((it) =>
        it.report.candidate.calibration ? interval(it.report.candidate.calibration.error.ece) : "",
      ),
    ],
    [
      "Correlation with length",
      ...both.map((it) => (it.report.candidate.length ? signed(it.report.candidate.length.correlation) : "")),
    ],
    ["Refused", ...both.map((it) => String(it.report.candidate.num_refused))],
  ];
  return table("Figures of both", [[""], ["First"], ["Second"]], rows);
}

function slices(both) {
  const [one, other] = both.map(
    (it) => new Map(it.report.candidate.slices.map(({ kind, name, found }) => [`${kind}: ${name}`, found])),
  );
  const names = [...new Set([...one.keys(), ...other.keys()])];
  const cell = (found) => (found ? [interval(found.accuracy), forest(found.accuracy)] : "");
  const difference = (name) =>
    one.has(name) && other.has(name)
      ? signed(other.get(name).accuracy.value - one.get(name).accuracy.value)
      : "";
  return names.length
    ? table(
        "Slices of both",
        [["Slice"], ["First"], ["Second"], ["Second less first", "number"]],
        names.map((name) => [name, cell(one.get(name)), cell(other.get(name)), difference(name)]),
      )
    : h("p", { class: "hint" }, "The data names no slices.");
}

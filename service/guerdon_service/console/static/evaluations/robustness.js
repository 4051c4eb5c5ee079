/** What changes of a response, which should or should not matter, do to its reward. */
import { h } from "../dom.js";
import { interval, percent, signed } from "../format.js";
import { table } from "../parts.js";

export default function robustness({ candidate, baseline }) {
  const sides = [
    ["candidate", candidate],
    ["baseline", baseline],
  ];
  const rows = sides.flatMap(([side, found]) =>
    (found?.robustness ?? []).map((row) => [
      side,
      row.transform.replaceAll("_", " "),
      row.meaning,
      String(row.num_pairs),
      interval(row.shift, signed),
      interval(row.flips, (value) => percent(value, 0)),
    ]),
  );
  const columns = [
    ["Model"],
    ["Change"],
    ["Meant to"],
    ["Pairs", "number"],
    ["Reward moves, sd", "number"],
    ["Order flips", "number"],
  ];
  return [
    table("Robustness", columns, rows),
    h("p", { class: "hint" }, "The preferred answer is changed and scored again; sd is that of the rewards."),
  ];
}

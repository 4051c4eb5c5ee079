/** Which of two responses is preferred, and how surely. */
import { ask } from "../api.js";
import { h } from "../dom.js";
import { percent, signed } from "../format.js";
import { badge, field, provenance, score, share } from "../parts.js";
import verb from "./verb.js";

const EXAMPLES = ["Put it into boiling water for seven minutes, then into cold water.", "Eggs are food."];

export default function compare({ turns, options, signal }) {
  const [a, b] = EXAMPLES.map((text) => h("textarea", { rows: 5 }, text));
  return verb({
    name: "Compare",
    hint: "The probability that A is preferred appears here, with its interval.",
    turns,
    options,
    fields: h("div", { class: "columns" }, field("Response A", a), field("Response B", b)),
    run: async (draw) => {
      const body = { pairs: [{ ...turns.read(), a: a.value, b: b.value }], ...options.read() };
      const reply = await ask("POST", "v1/compare", { body, signal });
      draw(preference(reply.preferences[0]), provenance(reply));
    },
  });
}
compare.title = "Compare";

function preference({ p_a, low, high, margin, preferred, a, b }) {
  const verdict = preferred === "tie" ? "A tie" : `${preferred.toUpperCase()} is preferred`;
  return [
    h(
      "p",
      { class: "figure" },
      h("span", { class: "name" }, "P(A is preferred)"),
      h("strong", {}, percent(p_a)),
    ),
    share(p_a, low, high),
    h(
      "p",
      { class: "marks" },
      badge(verdict, "accent"),
      badge(`95\u2009% interval ${percent(low)} to ${percent(high)}`),
      badge(`margin ${signed(margin)}`),
    ),
    h(
      "div",
      { class: "columns" },
      [
        ["A", a],
        ["B", b],
      ].map(([name, it]) => h("div", {}, h("h3", {}, name), score(it))),
    ),
  ];
}

/** Which of two responses is preferred, and how surely. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { percent, signed } from "../format.js";
import { badge, busily, field, form, provenance, score, share } from "../parts.js";

export default function compare({ turns, options, signal }) {
  const a = h("textarea", { rows: 5 }, "Put it into boiling water for seven minutes, then into cold water.");
  const b = h("textarea", { rows: 5 }, "Eggs are food.");
  const submit = h("button", { class: "primary", type: "submit" }, "Compare");
  const output = h("section", { class: "card result", "aria-live": "polite", "aria-label": "Result" });
  const run = () =>
    busily(submit, output, async () => {
      const body = { pairs: [{ ...turns.read(), a: a.value, b: b.value }], ...options.read() };
      const reply = await ask("POST", "v1/compare", { body, signal });
      show(output, preference(reply.preferences[0]), provenance(reply));
    });
  show(
    output,
    h("p", { class: "hint" }, "The probability that A is preferred appears here, with its interval."),
  );
  return h(
    "div",
    { class: "split" },
    form(
      run,
      turns.element,
      h("div", { class: "columns" }, field("Response A", a), field("Response B", b)),
      options.element,
      h("div", { class: "row" }, submit, h("kbd", {}, "Ctrl Enter")),
    ),
    output,
  );
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

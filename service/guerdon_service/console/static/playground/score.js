/** One conversation's reward. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { busily, field, form, provenance, score as scoreView } from "../parts.js";

export default function score({ turns, options, signal }) {
  const response = h(
    "textarea",
    { rows: 5 },
    "Put it into boiling water for seven minutes, then into cold water.",
  );
  const submit = h("button", { class: "primary", type: "submit" }, "Score");
  const output = h("section", { class: "card result", "aria-live": "polite", "aria-label": "Result" });
  const run = () =>
    busily(submit, output, async () => {
      const body = { items: [{ ...turns.read(), response: response.value }], ...options.read() };
      const reply = await ask("POST", "v1/score", { body, signal });
      show(output, scoreView(reply.scores[0]), provenance(reply));
    });
  show(output, h("p", { class: "hint" }, "The reward, its attributes, tokens and times appear here."));
  return h(
    "div",
    { class: "split" },
    form(
      run,
      turns.element,
      field("Response", response),
      options.element,
      h("div", { class: "row" }, submit, h("kbd", {}, "Ctrl Enter")),
    ),
    output,
  );
}
score.title = "Score";

/** What the verbs of the playground share: a form, and beside it what came of it. */
import { h, show } from "../dom.js";
import { busily, form } from "../parts.js";

/**
 * `run(draw)` asks and draws; until then `hint` says what will be there. `fields` stand between the prompt and the
 * model, `buttons` beside the one that is called `name`.
 */
export default function verb({ name, hint, turns, options, fields, buttons = [], isRead = true, run }) {
  const submit = h("button", { class: "primary", type: "submit" }, name);
  const output = h(
    "section",
    { class: "card result", "aria-live": isRead ? "polite" : null, "aria-label": "Result" },
    h("p", { class: "hint" }, hint),
  );
  const draw = (...content) => show(output, content);
  return h(
    "div",
    { class: "split" },
    form(
      () => busily(submit, output, () => run(draw)),
      turns.element,
      fields,
      options.element,
      h("div", { class: "row" }, submit, buttons, h("kbd", {}, "Ctrl Enter")),
    ),
    output,
  );
}

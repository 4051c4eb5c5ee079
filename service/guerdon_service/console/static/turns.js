/** The turns before a response: one prompt, or a conversation. */
import { h, show } from "./dom.js";
import { button, field, select } from "./parts.js";

const ROLES = ["user", "assistant", "system", "tool"].map((role) => [role, role]);
/** Kept while the console is open, so that a prompt goes along from one verb to the next. */
let kept = [{ role: "user", content: "How do I boil an egg?" }];

/** An editor and `read`, which gives ``{prompt}`` or ``{messages}``. */
export function turnsEditor() {
  const box = h("div", { class: "stack" });
  const draw = () => show(box, kept.length === 1 && kept[0].role === "user" ? single() : several(), more());

  function single() {
    return field("Prompt", area(kept[0], 4));
  }

  function several() {
    return kept.map((turn, i) => {
      const role = select(ROLES, turn.role);
      role.setAttribute("aria-label", `Role of turn ${i + 1}`);
      role.addEventListener("change", () => (turn.role = role.value));
      const text = area(turn, 2);
      text.setAttribute("aria-label", `Turn ${i + 1}`);
      const remove = button(
        "Remove",
        () => {
          kept.splice(i, 1);
          draw();
        },
        "quiet",
      );
      remove.setAttribute("aria-label", `Remove turn ${i + 1}`);
      return h("div", { class: "turn" }, role, text, kept.length > 1 && remove);
    });
  }

  function more() {
    return h(
      "div",
      { class: "row" },
      button(
        "Add a turn",
        () => {
          kept.push({ role: kept.at(-1).role === "user" ? "assistant" : "user", content: "" });
          draw();
          box.querySelector(".turn:last-of-type textarea")?.focus();
        },
        "quiet small",
      ),
    );
  }

  draw();
  return { element: box, read };
}

function area(turn, rows) {
  const text = h("textarea", { rows }, turn.content);
  text.addEventListener("input", () => (turn.content = text.value));
  return text;
}

function read() {
  if (kept.length === 1 && kept[0].role === "user") return { prompt: kept[0].content };
  return { messages: kept.map(({ role, content }) => ({ role, content })) };
}

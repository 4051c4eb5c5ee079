/** Candidates of one prompt, best first. */
import { ask } from "../api.js";
import { h } from "../dom.js";
import { percent, signed } from "../format.js";
import { button, marks, provenance, share, table } from "../parts.js";
import verb from "./verb.js";

const EXAMPLES = ["Seven minutes in boiling water, then cold water.", "Eggs are food.", "Ask somebody else."];

export default function rank({ turns, options, signal }) {
  const list = h("ol", { class: "candidates" });
  const add = (text, focus) => {
    const area = h("textarea", { rows: 2 }, text);
    const item = h(
      "li",
      {},
      area,
      button(
        "Remove",
        () => {
          item.remove();
          number();
        },
        "quiet",
      ),
    );
    list.append(item);
    number();
    if (focus) area.focus();
  };
  const number = () =>
    [...list.children].forEach((item, i) => {
      item.querySelector("textarea").setAttribute("aria-label", `Candidate ${i + 1}`);
      item.querySelector("button").setAttribute("aria-label", `Remove candidate ${i + 1}`);
    });
  EXAMPLES.forEach((text) => add(text));
  return verb({
    name: "Rank",
    hint: "The candidates appear here, best first, each with its chance of being the best.",
    turns,
    options,
    fields: h(
      "fieldset",
      {},
      h("legend", {}, "Candidates"),
      list,
      button("Add a candidate", () => add("", true), "quiet small"),
    ),
    run: async (draw) => {
      const candidates = [...list.querySelectorAll("textarea")].map((area) => area.value);
      const body = { ...turns.read(), candidates, ...options.read() };
      const reply = await ask("POST", "v1/rank", { body, signal });
      draw(ranking(reply.results, candidates), provenance(reply));
    },
  });
}
rank.title = "Rank";

function ranking(results, candidates) {
  const rows = results.map((result, place) => [
    String(place + 1),
    h("div", { class: "text" }, candidates[result.index], marks(result.score)),
    signed(result.reward),
    [percent(result.p_best), share(result.p_best)],
  ]);
  return table("Ranking", [["#"], ["Candidate"], ["Reward", "number"], ["Is best", "number"]], rows);
}

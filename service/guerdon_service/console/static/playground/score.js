/** One conversation's reward. */
import { ask } from "../api.js";
import { h } from "../dom.js";
import { field, provenance, score as scoreView } from "../parts.js";
import verb from "./verb.js";

const EXAMPLE = "Put it into boiling water for seven minutes, then into cold water.";

export default function score({ turns, options, signal }) {
  const response = h("textarea", { rows: 5 }, EXAMPLE);
  return verb({
    name: "Score",
    hint: "The reward, its attributes, tokens and times appear here.",
    turns,
    options,
    fields: field("Response", response),
    run: async (draw) => {
      const body = { items: [{ ...turns.read(), response: response.value }], ...options.read() };
      const reply = await ask("POST", "v1/score", { body, signal });
      draw(scoreView(reply.scores[0]), provenance(reply));
    },
  });
}
score.title = "Score";

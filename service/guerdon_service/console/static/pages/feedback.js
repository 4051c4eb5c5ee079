/** Feedback: say which of two answers is better, over and over, without a hand leaving the keyboard. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { notice } from "../parts.js";
import { agreementView } from "../feedback/agreement.js";
import labelling from "../feedback/labelling.js";
import setUp from "../feedback/set_up.js";

export default async function feedback(view, _, signal) {
  const [{ models }, { policies }] = await Promise.all([
    ask("GET", "v1/models", { signal }),
    ask("GET", "v1/policies", { signal }),
  ]);
  const work = h("div", { class: "stack" });
  const box = h("section", { class: "card", "aria-label": "Agreement" });
  const agreement = agreementView(box, signal);
  view.append(h("h1", {}, "Feedback"), work, box);
  const prepare = (message) => {
    show(work, message ? notice(message, "good") : "", setUp({ models, policies, signal, onReady: label }));
    agreement.draw();
  };
  const label = (task) => {
    const region = labelling({ ...task, signal, onEnd: prepare, onStored: agreement.drawSoon });
    show(work, region);
    region.focus(); // so that its keys work at once
  };
  prepare("");
}
feedback.title = "Feedback";

/** Playground: every scoring verb by hand. */
import { ask } from "../api.js";
import { h } from "../dom.js";
import { field, select } from "../parts.js";
import { turnsEditor } from "../turns.js";
import bestOfN from "../playground/best_of_n.js";
import compare from "../playground/compare.js";
import rank from "../playground/rank.js";
import score from "../playground/score.js";

const VERBS = { score, compare, rank, "best-of-n": bestOfN };

export default async function playground(view, [name], signal) {
  const chosen = Object.hasOwn(VERBS, name ?? "") ? name : "score";
  const [{ models }, { policies }] = await Promise.all([
    ask("GET", "v1/models", { signal }),
    ask("GET", "v1/policies", { signal }),
  ]);
  const turns = turnsEditor();
  const options = modelOptions(models);
  view.append(
    h("h1", {}, "Playground"),
    h(
      "nav",
      { class: "tabs", "aria-label": "Verbs" },
      Object.keys(VERBS).map((verb) =>
        h(
          "a",
          { href: `#/playground/${verb}`, "aria-current": verb === chosen ? "page" : null },
          VERBS[verb].title,
        ),
      ),
    ),
    VERBS[chosen]({ turns, options, policies, signal }),
  );
}
playground.title = "Playground";

/** Which model and profile to ask, and `read`, which gives what a request says of them. */
function modelOptions(models) {
  const ready = models.filter((model) => model.state === "ready");
  const reference = (model) => `${model.name}@${model.version}`;
  const names = ready.map((model) => [reference(model), reference(model) + aliases(model)]);
  const model = select(names, ready.filter((it) => it.default).map(reference)[0]);
  const profile = h("select");
  const fillProfiles = () => {
    const profiles = ready.find((it) => reference(it) === model.value)?.profiles ?? [];
    profile.replaceChildren(...profiles.map((name) => h("option", { value: name }, name)));
  };
  model.addEventListener("change", fillProfiles);
  fillProfiles();
  return {
    element: h("div", { class: "columns" }, field("Model", model), field("Profile", profile)),
    read: () => ({ model: model.value, profile: profile.value }),
  };
}

function aliases(model) {
  return model.aliases.length ? ` (${model.aliases.join(", ")})` : "";
}

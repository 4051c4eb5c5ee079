/** Models: versions and what their names mean, what each proved, where it comes from, and who changed it. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { digest } from "../format.js";
import { badge, busily, field, form, table } from "../parts.js";
import modelPage from "../models/model.js";

export default async function models(view, [name, version], signal) {
  if (name) return modelPage(view, name, version, signal);
  const { models: loaded } = await ask("GET", "v1/models", { signal });
  view.append(
    h("h1", {}, "Models"),
    h("section", { class: "card" }, loadedTable(loaded)),
    registration(signal),
  );
}
models.title = "Models";

function loadedTable(loaded) {
  const rows = loaded.map((model) => [
    h(
      "a",
      { href: `#/models/${encodeURIComponent(model.name)}/${encodeURIComponent(model.version)}` },
      model.name,
    ),
    model.version,
    h(
      "span",
      { class: "marks" },
      model.aliases.map((alias) => badge(alias, alias === "champion" ? "accent" : "")),
      model.default && badge("default"),
    ),
    badge(model.state, { ready: "good", failed: "bad" }[model.state] ?? "fair"),
    certified(model.certificate),
    `${model.backend}, ${model.dtype}`,
    h("code", {}, digest(model.digest)),
  ]);
  return table(
    "Loaded models",
    [["Model"], ["Version"], ["Aliases"], ["State"], ["Certificate"], ["Back end"], ["Digest"]],
    rows,
  );
}

function certified(checks) {
  if (!checks.length) return badge("none", "fair");
  const failed = checks.filter((check) => !check.passed).length;
  return failed ? badge(`${failed} failed`, "bad") : badge(`${checks.length} passed`, "good");
}

function registration(signal) {
  const name = h("input", { required: true, autocomplete: "off" });
  const source = h("input", { required: true, autocomplete: "off", spellcheck: "false" });
  const submit = h("button", { class: "primary", type: "submit" }, "Register");
  const output = h("div", { role: "status" });
  const run = () =>
    busily(submit, output, async () => {
      show(output, h("p", { class: "hint" }, "Reading, certifying and loading it \u2026"));
      const path = `v1/models/${encodeURIComponent(name.value)}/versions`;
      const made = await ask("POST", path, { body: { source: source.value }, signal });
      location.hash = `#/models/${encodeURIComponent(made.name)}/${encodeURIComponent(made.version)}`;
    });
  return h(
    "details",
    { class: "card" },
    h("summary", {}, "Register a version"),
    form(
      run,
      h(
        "div",
        { class: "columns" },
        field("Name", name),
        field("Source", source, "A folder of the model store, or a URL of an artifact"),
      ),
      h("div", { class: "row" }, submit),
      output,
    ),
  );
}

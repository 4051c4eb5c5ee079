/** Models: versions and what their names mean, what each proved, where it comes from, and who changed it. */
import { ApiError, ask } from "../api.js";
import { h, show } from "../dom.js";
import { digest } from "../format.js";
import { aliasBadge, badge, busily, field, form, table } from "../parts.js";
import modelPage from "../models/model.js";

export default async function models(view, [name, version], signal) {
  if (name) return modelPage(view, name, version, signal);
  const [{ models: loaded }, known] = await Promise.all([
    ask("GET", "v1/models", { signal }),
    registeredModels(signal),
  ]);
  view.append(
    h("h1", {}, "Models"),
    h("section", { class: "card" }, loadedTable(loaded)),
    known ? unloaded(known, loaded) : h("p", { class: "hint" }, "The registry does not answer."),
    registration(signal),
  );
}
models.title = "Models";

/** Null while the registry does not answer: what is loaded is served, and shown, all the same. */
async function registeredModels(signal) {
  try {
    return (await ask("GET", "v1/registered-models", { signal })).models;
  } catch (error) {
    if (error instanceof ApiError && error.status === 503) return null;
    throw error;
  }
}

function unloaded(known, loaded) {
  const names = new Set(loaded.map((model) => model.name));
  const rows = known
    .filter(({ name }) => !names.has(name))
    .map(({ name, kind, aliases }) => [
      h("a", { href: `#/models/${encodeURIComponent(name)}` }, name),
      kind,
      h(
        "span",
        { class: "marks" },
        Object.entries(aliases).map(([alias, version]) =>
          aliasBadge(alias, `${alias}: ${version}`),
        ),
      ),
    ]);
  if (!rows.length) return "";
  const title = "Registered, not loaded here";
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    table(title, [["Model"], ["Kind"], ["Aliases"]], rows),
  );
}

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
      model.aliases.map((alias) => aliasBadge(alias)),
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

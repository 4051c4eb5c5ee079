/** One version in full: what it is, its card, its certificate, and its lineage from data to promotion. */
import { ApiError, ask, text } from "../api.js";
import { h, show } from "../dom.js";
import { interval, plain, signed, when } from "../format.js";
import { markdown } from "../markdown.js";
import { badge, facts, folded, notice, table, tree } from "../parts.js";

export default async function versionView(box, context) {
  const { name, version, history, loaded, signal } = context;
  const isLoaded = loaded.some((model) => model.version === version);
  const model = isLoaded ? await loadedModel(`${name}@${version}`, signal) : null;
  const known = history.versions.find((it) => it.version === version);
  show(
    box,
    h("h2", {}, `Version ${version}`),
    model ? described(model) : h("p", { class: "hint" }, "Not loaded here."),
    known && card(name, version, signal),
    h("h3", {}, "Certificate"),
    certificate(model?.certificate ?? []),
    h("h3", {}, "Lineage"),
    lineage(known, context),
  );
}

/** Null where it was unloaded meanwhile. */
async function loadedModel(reference, signal) {
  try {
    return await ask("GET", `v1/models/${encodeURIComponent(reference)}`, { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** Asked for once somebody opens it: it may be long, and a version may have none. */
function card(name, version, signal) {
  const path = `v1/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}/card`;
  return folded("Model card", async (box) => {
    try {
      show(box, h("div", { class: "prose" }, markdown(await text(path, { signal }))));
    } catch (error) {
      if (!signal.aborted) show(box, notice(error));
    }
  });
}

function described(model) {
  const { manifest } = model;
  const shown = [
    ["Digest", h("code", {}, model.digest)],
    ["Heads", model.heads.join(", ")],
    ["Longest input", `${model.max_tokens} tokens`],
    ["Back end", `${model.backend}, ${model.dtype}`],
    ["Inferred", model.inferred.join(" ")],
  ];
  if (!manifest) return facts(shown);
  const { slope, slope_se, num_pairs } = manifest.calibration;
  return [
    facts([
      ...shown,
      ["Reads", `${manifest.encoding} encoding, ${manifest.pooling} pooling`],
      ["Calibration", `slope ${plain(slope)} \u00b1 ${plain(slope_se)} from ${num_pairs} pairs`],
    ]),
    h("h3", {}, "Profiles"),
    profiles(manifest.profiles),
    Object.keys(manifest.metrics).length > 0 &&
      h("details", {}, h("summary", {}, "Measured when it was trained"), tree(manifest.metrics)),
  ];
}

function profiles(given) {
  const rows = Object.entries(given).map(([name, { weights, conservatism }], place) => [
    [name, place === 0 && [" ", badge("default")]],
    Object.entries(weights)
      .map(([head, weight]) => `${head} ${signed(weight, 2)}`)
      .join(", "),
    plain(conservatism, 2),
  ]);
  return table("Profiles", [["Profile"], ["Weights"], ["Conservatism", "number"]], rows);
}

function certificate(checks) {
  if (!checks.length) return h("p", { class: "hint" }, "None is known here.");
  const rows = checks.map(({ name, passed, detail }) => [
    name,
    badge(passed ? "passed" : "failed", passed ? "good" : "bad"),
    detail,
  ]);
  return table("Certificate", [["Check"], [""], ["What was found"]], rows);
}

/** Data and configuration, the artifact, what was measured of it, what was decided. */
function lineage(known, { name, version, history, evaluations }) {
  if (!known) return h("p", { class: "hint" }, "Not in the registry.");
  const measured = evaluations.filter((it) => it.candidate === `${name}@${version}`);
  const decided = history.changes.filter((it) => it.version === version);
  const step = (title, ...content) => h("li", {}, h("strong", {}, title), h("div", {}, content));
  return h(
    "ol",
    { class: "lineage" },
    step("Made from", Object.keys(known.parents).length ? tree(known.parents) : "nothing that it tells of"),
    step(
      "Artifact",
      facts([
        ["Digest", h("code", {}, known.digest)],
        ["Source", known.source],
        ["Registered", `${when(known.registered_at)} by ${known.registered_by || "nobody named"}`],
      ]),
    ),
    step("Evaluations", measured.length ? h("ul", {}, measured.map(evaluation)) : "none yet"),
    step(
      "Decisions",
      decided.length
        ? h(
            "ul",
            {},
            decided.map((it) =>
              h("li", {}, `${when(it.at)}: ${it.action}, ${it.alias}, by ${it.by || "nobody named"}`),
            ),
          )
        : "none yet",
    ),
  );
}

function evaluation(it) {
  const found = it.accuracy ? `accuracy ${interval(it.accuracy)}` : it.state;
  return h(
    "li",
    {},
    h(
      "a",
      { href: `#/evaluations/${it.id}` },
      `${it.dataset}, ${found}${it.verdict ? `, ${it.verdict}` : ""}`,
    ),
  );
}

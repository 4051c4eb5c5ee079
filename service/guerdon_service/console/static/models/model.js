/** One name: its versions, the chosen one in full, and every change of its aliases. */
import { ApiError, ask } from "../api.js";
import { h, show } from "../dom.js";
import { digest, when } from "../format.js";
import { aliasBadge, badge, button, facts, table } from "../parts.js";
import { checksTable, openPromote, openRollback } from "./decisions.js";
import versionView from "./version.js";

export default async function modelPage(view, name, asked, signal, change = null) {
  const [{ models }, { evaluations: all }, history] = await Promise.all([
    ask("GET", "v1/models", { signal }),
    ask("GET", "v1/evaluations", { signal }),
    registered(name, signal),
  ]);
  const evaluations = all.filter((it) => it.candidate.startsWith(`${name}@`));
  const loaded = models.filter((model) => model.name === name);
  const chosen = asked ?? history.aliases.champion ?? loaded[0]?.version;
  const version = h("section", { class: "card", "aria-label": `Version ${chosen}` });
  const done = (made) => signal.aborted || modelPage(show(view), name, asked, signal, made);
  const context = { name, history, evaluations, loaded, signal, done };

  view.append(
    h("p", {}, h("a", { href: "#/models" }, "All models")),
    h(
      "div",
      { class: "row between" },
      h("h1", {}, name),
      h(
        "div",
        { class: "row" },
        button("Promote \u2026", () => openPromote(context, chosen), "primary"),
        button("Roll back \u2026", () => openRollback(context)),
      ),
    ),
    change ? changed(change) : "",
    h("section", { class: "card" }, h("h2", {}, "Versions"), versionsTable(name, history, loaded, chosen)),
    version,
    h("section", { class: "card" }, h("h2", {}, "Changes"), changesTable(history.changes)),
  );
  await versionView(version, { ...context, version: chosen });
}

/** What the registry knows; an ensemble is not in it. */
async function registered(name, signal) {
  try {
    return await ask("GET", `v1/models/${encodeURIComponent(name)}/versions`, { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404)
      return { name, versions: [], aliases: {}, changes: [] };
    throw error;
  }
}

function versionsTable(name, history, loaded, chosen) {
  const rows = history.versions.map((version) => {
    const aliases = Object.entries(history.aliases).filter(([, it]) => it === version.version);
    const here = loaded.find((model) => model.version === version.version);
    const link = `#/models/${encodeURIComponent(name)}/${encodeURIComponent(version.version)}`;
    return [
      h("a", { href: link, "aria-current": version.version === chosen ? "true" : null }, version.version),
      h(
        "span",
        { class: "marks" },
        aliases.map(([alias]) => aliasBadge(alias)),
      ),
      badge(here?.state ?? "not loaded", here?.state === "ready" ? "good" : ""),
      h("code", {}, digest(version.digest)),
      version.registered_by || "nobody named",
      when(version.registered_at),
    ];
  });
  return table(
    "Versions",
    [["Version"], ["Aliases"], ["State"], ["Digest"], ["Registered by"], ["When"]],
    rows,
  );
}

function standsAt(change) {
  return change.action === "remove" ? "none" : change.version;
}

function changesTable(changes) {
  if (!changes.length) return h("p", { class: "hint" }, "No alias has moved yet.");
  const rows = [...changes]
    .reverse()
    .map((change) => [
      when(change.at),
      badge(change.action, { override: "fair", rollback: "fair", remove: "fair" }[change.action] ?? "good"),
      `${change.alias}: ${change.previous ?? "none"} \u2192 ${standsAt(change)}`,
      change.by || "nobody named",
      [
        change.reason && h("p", { class: "text" }, change.reason),
        change.checks.length > 0 &&
          h("details", {}, h("summary", {}, "What the gate saw"), checksTable(change.checks)),
      ],
    ]);
  return table("Changes", [["When"], ["What"], ["Alias"], ["By"], ["Why"]], rows);
}

function changed(change) {
  return h(
    "section",
    { class: "notice", role: "status" },
    h("p", {}, `${change.alias} of ${change.name} is now version ${change.version} (${change.action}).`),
    facts([
      ["Before", change.previous ?? "none"],
      ["Reason", change.reason],
    ]),
  );
}

/** Promote through the gate, override it with a written reason, roll back. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { when } from "../format.js";
import { badge, busily, button, field, form, openDialog, select, table } from "../parts.js";

const REASONS = /; (?=[a-z][a-z -]*: )/;

/** What the gate asked and saw. */
export function checksTable(checks) {
  const mark = (passed) =>
    passed === null ? badge("not asked") : badge(passed ? "passed" : "failed", passed ? "good" : "bad");
  return table(
    "Checks of the gate",
    [["Check"], [""], ["What it saw"]],
    checks.map(({ name, passed, detail }) => [name, mark(passed), detail]),
  );
}

/** `context` is the name, its history, all evaluations, the page's signal and what to do when it is `done`. */
export function openPromote(context, chosen) {
  const { name, history, evaluations, signal, done } = context;
  openDialog(`Promote ${name}`, signal, (close) => {
    const versions = [...history.versions].reverse().map(({ version }) => [version, version]);
    const version = select(versions, chosen);
    const evidence = h("select");
    const fillEvidence = () => show(evidence, evidenceOf(`${name}@${version.value}`, evaluations));
    version.addEventListener("change", fillEvidence);
    fillEvidence();
    const alias = h("input", { value: "champion", required: true });
    const reason = h("textarea", { rows: 3 });
    const override = h(
      "div",
      { class: "stack", hidden: true },
      field("Reason for overriding the gate", reason, "Kept beside what the gate saw"),
    );
    const output = h("div");
    const submit = h("button", { class: "primary", type: "submit" }, "Ask the gate");
    const run = () =>
      busily(submit, output, async () => {
        const body = { version: version.value, alias: alias.value };
        if (evidence.value) body.evaluation_id = evidence.value;
        if (!override.hidden && reason.value.trim()) body.override_reason = reason.value.trim();
        try {
          const change = await ask("POST", `v1/models/${encodeURIComponent(name)}/promote`, { body, signal });
          close();
          await done(change);
        } catch (error) {
          if (error.status !== 409) throw error;
          show(output, refusal(error.message));
          override.hidden = false;
          submit.textContent = "Override and promote";
          submit.className = "danger";
          reason.focus();
        }
      });
    return form(
      run,
      h("div", { class: "columns" }, field("Version", version), field("Alias", alias)),
      field("Evidence", evidence, "A finished evaluation of this version against the one that it replaces"),
      output,
      override,
      h("div", { class: "row" }, submit, button("Cancel", close, "quiet")),
    );
  });
}

export function openRollback({ name, signal, done }) {
  openDialog(`Roll back ${name}`, signal, (close) => {
    const alias = h("input", { value: "champion", required: true });
    const reason = h("textarea", { rows: 3, required: true });
    const output = h("div");
    const submit = h("button", { class: "danger", type: "submit" }, "Roll back");
    const run = () =>
      busily(submit, output, async () => {
        const body = { alias: alias.value, reason: reason.value.trim() };
        const change = await ask("POST", `v1/models/${encodeURIComponent(name)}/rollback`, { body, signal });
        close();
        await done(change);
      });
    return form(
      run,
      h(
        "p",
        { class: "hint" },
        "The alias points at the version before again; that one stays loaded, so the next request has its scores.",
      ),
      field("Alias", alias),
      field("Reason", reason, "Kept"),
      output,
      h("div", { class: "row" }, submit, button("Cancel", close, "quiet")),
    );
  });
}

function evidenceOf(reference, evaluations) {
  const done = evaluations.filter((it) => it.candidate === reference && it.state === "done");
  const name = (it) =>
    `${it.verdict ?? "alone"}, against ${it.baseline ?? "nothing"}, ${it.dataset}, ${when(it.created_at)}`;
  return [...done.map((it) => h("option", { value: it.id }, name(it))), h("option", { value: "" }, "None")];
}

/** The gate tells its reasons in one sentence; here each has a line. */
function refusal(message) {
  const [, head, reasons, rest] = /^(.*? is not promoted): (.*)\. (Mend that.*)$/s.exec(message) ?? [
    null,
    message,
    "",
    "",
  ];
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", {}, `${head}.`),
    reasons &&
      h(
        "ul",
        { class: "reasons" },
        reasons.split(REASONS).map((reason) => h("li", {}, reason)),
      ),
    rest && h("p", { class: "hint" }, `${rest}.`),
  );
}

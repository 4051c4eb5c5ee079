/** Start an evaluation: on a file of the service, or on records that are sent along. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { jsonlInput } from "../jsonl.js";
import { busily, field, form, reference, select } from "../parts.js";

const EXAMPLE = '{"prompt": "What is 2 + 2?", "chosen": "4.", "rejected": "5."}';

export default function startForm(models, signal) {
  const names = models
    .filter((model) => model.state === "ready")
    .map((model) => [reference(model), reference(model)]);
  const candidate = select(names, names.at(-1)?.[0]);
  const baseline = select([["", "None: measure it alone"], ...names], "");
  const dataset = h("input", { required: true, autocomplete: "off", spellcheck: "false" });
  const profile = h("select");
  const fillProfiles = () => {
    const known = models.find((model) => reference(model) === candidate.value)?.profiles ?? [];
    show(profile, h("option", { value: "" }, "Each model's default"), known.map((name) => h("option", {}, name)));
  };
  candidate.addEventListener("change", fillProfiles);
  fillProfiles();
  const robustness = h("input", { type: "number", min: 0, step: 1, value: 0 });
  const margin = h("input", { type: "number", min: 0, max: 0.99, step: 0.01, value: 0.02 });
  const records = jsonlInput(
    "Records",
    "One preference a line: prompt, chosen, rejected, and what else you know of it",
    EXAMPLE,
  );
  const own = h("details", {}, h("summary", {}, "Paste or upload records"), records.element);
  const submit = h("button", { class: "primary", type: "submit" }, "Start");
  const output = h("div");
  const run = () =>
    busily(submit, output, async () => {
      show(output);
      const body = { candidate: candidate.value, dataset: dataset.value.trim() };
      if (baseline.value) body.baseline = baseline.value;
      if (profile.value) body.profile = profile.value;
      if (robustness.valueAsNumber > 0) body.robustness = robustness.valueAsNumber;
      if (margin.value) body.margin = margin.valueAsNumber;
      if (own.open)
        await ask("POST", "v1/datasets", { body: { name: body.dataset, records: records.read() }, signal });
      const started = await ask("POST", "v1/evaluations", { body, signal });
      location.hash = `#/evaluations/${started.id}`;
    });
  own.addEventListener("toggle", () => {
    if (own.open && !dataset.value)
      dataset.value = `pasted-${new Date().toISOString().slice(0, 19).replace(/[-:]/g, "")}.jsonl`;
  });
  return h(
    "section",
    { class: "card", "aria-label": "Start an evaluation" },
    h("h2", {}, "Start an evaluation"),
    form(
      run,
      h(
        "div",
        { class: "columns" },
        field("Candidate", candidate),
        field("Baseline", baseline),
        field("Data set", dataset, "A file of the service's data folder"),
        field("Margin", margin, "How much less accuracy is not worse"),
        field("Profile", profile),
        field("Robustness", robustness, "Pairs that are also scored with the better answer changed"),
      ),
      own,
      output,
      h("div", { class: "row" }, submit),
    ),
  );
}

/** Where the pairs come from: given ones, or two fresh samples of a policy for each prompt. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { jsonlInput } from "../jsonl.js";
import { busily, field, form, reference, select } from "../parts.js";
import { asPair, messagesOf } from "./pairs.js";

const EXAMPLE = '{"prompt": "What is 2 + 2?", "a": "4.", "b": "I think it is 5."}';
const SAMPLED = { n: 2, max_tokens: 96, temperature: 1 };

/** `onReady` gets ``{pairs, annotator, model}``. */
export default function setUp({ models, policies, signal, onReady }) {
  const annotator = h("input", {
    autocomplete: "off",
    value: sessionStorage.getItem("guerdon.annotator") ?? "",
  });
  const names = models
    .filter((model) => model.state === "ready")
    .map((model) => [reference(model), reference(model)]);
  const model = select([["", "None"], ...names], "");
  const given = jsonlInput(
    "Pairs",
    "One a line: prompt (or messages) with a and b, chosen and rejected, or candidates",
    EXAMPLE,
  );
  const policy = select([["", "None: the pairs are given"], ...policies.map((name) => [name, name])], "");
  const prompts = h("textarea", { rows: 4, placeholder: "One prompt a line" });
  const sampled = h(
    "div",
    { class: "stack", hidden: true },
    field("Prompts", prompts, "Two answers are sampled for each"),
  );
  policy.addEventListener("change", () => {
    sampled.hidden = !policy.value;
    given.element.hidden = Boolean(policy.value);
  });
  const submit = h("button", { class: "primary", type: "submit" }, "Begin");
  const output = h("div", { role: "status" });
  const run = () =>
    busily(submit, output, async () => {
      sessionStorage.setItem("guerdon.annotator", annotator.value.trim());
      const pairs = policy.value
        ? await samplePairs(prompts.value, policy.value, output, signal)
        : given.read().map(asPair);
      onReady({ pairs, annotator: annotator.value.trim(), model: model.value });
    });
  return h(
    "section",
    { class: "card", "aria-label": "Begin" },
    h("h2", {}, "Which answer is better?"),
    h(
      "p",
      { class: "hint" },
      "Answers come in random order and without scores. Each judgement is stored with who gave it and what was shown.",
    ),
    form(
      run,
      h(
        "div",
        { class: "columns" },
        field("Who judges", annotator, "As you name people here"),
        field("Answers from", policy),
        field("Agree with", model, "A model to be held against your judgements, afterwards"),
      ),
      given.element,
      sampled,
      output,
      h("div", { class: "row" }, submit),
    ),
  );
}

async function samplePairs(text, policy, output, signal) {
  const prompts = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  if (!prompts.length) throw new Error("There are no prompts; give one a line.");
  const pairs = [];
  for (const [i, prompt] of prompts.entries()) {
    show(output, h("p", { class: "hint" }, `Sampling ${i + 1} of ${prompts.length} \u2026`));
    const { candidates } = await ask("POST", "v1/best-of-n", {
      body: { policy, prompt, seed: i, ...SAMPLED },
      signal,
    });
    const [a, b] = candidates.map((it) => it.response);
    if (a && b && a !== b) pairs.push({ messages: messagesOf(prompt), a, b, label: null });
  }
  if (!pairs.length)
    throw new Error("The policy gave no two different answers; use another temperature or other prompts.");
  return pairs;
}

/** Live: what the service does now, from its own metrics. */
import { text } from "../api.js";
import { h, show } from "../dom.js";
import { bytes, ms, percent, plain, short } from "../format.js";
import { button, notice, table } from "../parts.js";
import { chart } from "../live/chart.js";
import { readMetrics, total } from "../live/prometheus.js";
import { between, byVerb } from "../live/sample.js";

const PERIOD_MS = 2000;
const KEPT = 60;

/** Every chart: its name, its figure, and how that is shown. */
const CHARTS = [
  ["Requests per second", "requests", short],
  ["Tokens per second", "tokens", short],
  ["Median latency", "p50", ms],
  ["95th percentile", "p95", ms],
  ["Tokens in the queue", "queue", short],
  ["Cache hits", "hitShare", (value) => percent(value, 0)],
  ["Refused per second", "refused", short],
];

export default async function live(view, _, signal) {
  const charts = h("div", { class: "charts" });
  const tables = h("div", { class: "stack" });
  const errors = h("div");
  const samples = [];
  let before = null;
  let timer = null;
  let isPaused = false;

  async function look() {
    clearTimeout(timer);
    try {
      const now = { at: performance.now() / 1000, metrics: readMetrics(await text("metrics", { signal })) };
      samples.push(between(before ?? now, now));
      if (samples.length > KEPT) samples.shift();
      before = now;
      show(errors);
      show(
        charts,
        CHARTS.map(([name, key, format]) =>
          chart(
            name,
            samples.map((it) => it[key]),
            format,
          ),
        ),
      );
      show(tables, verbs(now), drift(now.metrics), trial(now.metrics), state(now.metrics));
    } catch (error) {
      if (signal.aborted) return;
      show(errors, notice(error));
    }
    if (!isPaused && !signal.aborted) timer = setTimeout(look, PERIOD_MS);
  }

  const pause = button("Pause", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (isPaused) clearTimeout(timer);
    else look();
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  view.append(
    h(
      "div",
      { class: "row between" },
      h("h1", {}, "Live"),
      h("div", { class: "row" }, button("Look now", look, "quiet"), pause),
    ),
    h(
      "p",
      { class: "hint" },
      `Of this replica, every ${PERIOD_MS / 1000} seconds, the last ${(KEPT * PERIOD_MS) / 1000} seconds; requests that score, compare, rank and choose.`,
    ),
    errors,
    charts,
    tables,
  );
  await look();
}
live.title = "Live";

function verbs(now) {
  const rows = byVerb(now).map((row) => [
    row.verb,
    row.transport,
    short(row.num),
    short(row.failed),
    row.p50 === null ? "" : ms(row.p50),
    row.p95 === null ? "" : ms(row.p95),
  ]);
  const columns = [
    ["Verb"],
    ["Over"],
    ["Answered", "number"],
    ["Refused or failed", "number"],
    ["Median", "number"],
    ["95\u2009%", "number"],
  ];
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Since the service started"),
    table("Requests by verb", columns, rows),
  );
}

function drift(metrics) {
  const rows = new Map();
  for (const { labels, value } of metrics.get("guerdon_drift") ?? []) {
    const key = `${labels.model} ${labels.measure}`;
    rows.set(key, { ...rows.get(key), ...labels, [labels.statistic]: value });
  }
  const cells = [...rows.values()].map((it) => [it.model, it.measure, plain(it.psi ?? 0), plain(it.ks ?? 0)]);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Drift"),
    cells.length
      ? table("Drift", [["Model"], ["Measure"], ["PSI", "number"], ["KS", "number"]], cells)
      : h(
          "p",
          { class: "hint" },
          "Nothing to compare yet: it needs a first window of answers and a latest one.",
        ),
    h(
      "p",
      { class: "hint" },
      "Latest answers against the first ones. This audits rather than warns: distributions move without harm, and harm comes without movement.",
    ),
  );
}

/** A candidate beside the champion, where there is one. */
function trial(metrics) {
  const given = metrics.get("guerdon_trial") ?? [];
  if (!given.length) return "";
  const rows = given.map(({ labels, value }) => [
    labels.model,
    labels.candidate,
    labels.figure.replaceAll("_", " "),
    plain(value),
  ]);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Candidate on live traffic"),
    table("Trial", [["Model"], ["Candidate"], ["Figure"], ["Value", "number"]], rows),
  );
}

function state(metrics) {
  const memory = total(metrics, "process_resident_memory_bytes");
  const computed = total(metrics, "guerdon_computed_tokens_total");
  const asked = total(metrics, "guerdon_tokens_total");
  const rows = [
    ["Memory", bytes(memory)],
    ["Tokens scored", short(asked)],
    ["Padding waste", computed ? percent(1 - asked / computed) : "\u2013"],
    ["Models ready", short(total(metrics, "guerdon_model_ready"))],
  ];
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Process"),
    table("Process", [["Figure"], ["Value", "number"]], rows),
  );
}

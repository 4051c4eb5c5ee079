/** Two readings of the metrics to the figures between them. */
import { buckets, quantile, since, total } from "./prometheus.js";

/** Verbs that people and programs wait for; health, metrics and the console's own looks are none. */
const VERBS = ["score", "compare", "rank", "best_of_n"];
const isVerb = ({ verb }) => VERBS.includes(verb);

/** `now` and `before` are ``{at, metrics}``, times in seconds. */
export function between(before, now) {
  const seconds = now.at - before.at || 1;
  const grown = (name, wanted) => total(now.metrics, name, wanted) - total(before.metrics, name, wanted);
  const rate = (name, wanted) => Math.max(0, grown(name, wanted)) / seconds;
  const latency = since(
    buckets(now.metrics, "guerdon_request_seconds", isVerb),
    buckets(before.metrics, "guerdon_request_seconds", isVerb),
  );
  // Every look begins in the process's own layer; what it misses may hit in the shared one.
  const hits = grown("guerdon_cache_total", ({ outcome }) => outcome === "hit");
  const looks = grown(
    "guerdon_cache_total",
    ({ layer, outcome }) => layer === "l1" && ["hit", "miss"].includes(outcome),
  );
  return {
    requests: rate("guerdon_requests_total", isVerb),
    tokens: rate("guerdon_tokens_total"),
    refused: rate("guerdon_refused_total"),
    p50: toMs(quantile(latency, 0.5)),
    p95: toMs(quantile(latency, 0.95)),
    queue: total(now.metrics, "guerdon_queue_tokens"),
    hitShare: looks > 0 ? hits / looks : null,
  };
}

/** By verb and transport since the service started: how many, how they ended, how long they took. */
export function byVerb({ metrics }) {
  const rows = new Map();
  for (const { labels, value } of metrics.get("guerdon_requests_total") ?? []) {
    const key = `${labels.verb} ${labels.transport}`;
    const row = rows.get(key) ?? { ...labels, num: 0, failed: 0 };
    row.num += value;
    if (labels.code !== "ok") row.failed += value;
    rows.set(key, row);
  }
  return [...rows.values()]
    .sort((a, b) => b.num - a.num)
    .map((row) => {
      const counts = buckets(
        metrics,
        "guerdon_request_seconds",
        (it) => it.verb === row.verb && it.transport === row.transport,
      );
      return { ...row, p50: toMs(quantile(counts, 0.5)), p95: toMs(quantile(counts, 0.95)) };
    });
}

function toMs(seconds) {
  return seconds === null ? null : seconds * 1000;
}

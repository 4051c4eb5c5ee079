/** Prometheus' text format, as far as the service writes it. */
const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** Every series: a name to ``[{labels, value}]``. */
export function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels, value] = LINE.exec(line) ?? [];
    if (!name) continue;
    if (!found.has(name)) found.set(name, []);
    found
      .get(name)
      .push({ labels: readLabels(labels ?? ""), value: value === "+Inf" ? Infinity : Number(value) });
  }
  return found;
}

function readLabels(text) {
  return Object.fromEntries(
    [...text.matchAll(LABEL)].map(([, name, value]) => [
      name,
      value.replace(/\\[n"\\]/g, (it) => ESCAPES[it]),
    ]),
  );
}

/** The sum of a name's series that `wanted` takes. */
export function total(metrics, name, wanted = () => true) {
  return (metrics.get(name) ?? [])
    .filter(({ labels }) => wanted(labels))
    .reduce((sum, { value }) => sum + value, 0);
}

/** Cumulative counts of a histogram by upper bound, over the series that `wanted` takes. */
export function buckets(metrics, name, wanted) {
  const counts = new Map();
  for (const { labels, value } of metrics.get(`${name}_bucket`) ?? []) {
    if (!wanted(labels)) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** What a share of the observations are below, by linear interpolation in its bucket; null without any. */
export function quantile(counts, share) {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const all = sorted.at(-1)?.[1] ?? 0;
  if (!all) return null;
  let [below, countBelow] = [0, 0];
  for (const [bound, count] of sorted) {
    if (count >= share * all) {
      if (bound === Infinity) return below;
      return below + ((bound - below) * (share * all - countBelow)) / (count - countBelow || 1);
    }
    [below, countBelow] = [bound, count];
  }
  return below;
}

/** Counts of `now` less those of `before`. */
export function since(now, before) {
  return new Map([...now].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
}

/** A line over time. */
import { h, s } from "../dom.js";

const [WIDTH, HEIGHT] = [300, 84];

/** A tile: its name, the latest value, and the line of all; null values leave a gap. */
export function chart(name, values, show) {
  const latest = values.at(-1) ?? null;
  const known = values.filter((it) => it !== null);
  const most = Math.max(...known, 0);
  const atMost = known.length ? `at most ${show(most)}` : "no reading yet";
  const now = latest === null ? "\u2013" : show(latest);
  return h(
    "section",
    { class: "card chart" },
    h("div", { class: "figure" }, h("h2", { class: "name" }, name), h("strong", {}, now)),
    s(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `${name}: now ${now}, at most ${show(most)} in the last ${values.length} readings`,
      },
      s("line", { class: "rail", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
      parts(values, most || 1).map((points) => [
        area(points),
        s("polyline", { class: "line", points: points.map((at) => at.join(",")).join(" ") }),
      ]),
    ),
    h("p", { class: "hint" }, atMost),
  );
}

const SHOWN = 60;

/** Runs of values without a gap, as points; the newest is on the right. */
function parts(values, most) {
  const runs = [[]];
  values.slice(-SHOWN).forEach((value, i, shown) => {
    if (value === null) runs.push([]);
    else
      runs
        .at(-1)
        .push(
          [
            ((i + SHOWN - shown.length) / (SHOWN - 1)) * WIDTH,
            HEIGHT - 2 - (value / most) * (HEIGHT - 8),
          ].map((it) => Number(it.toFixed(1))),
        );
  });
  return runs
    .filter((run) => run.length > 0)
    .map((run) => (run.length === 1 ? [[run[0][0] - 3, run[0][1]], run[0]] : run));
}

function area(points) {
  const [first, last] = [points[0][0], points.at(-1)[0]];
  return s("polygon", {
    class: "area",
    points: [[first, HEIGHT - 1], ...points, [last, HEIGHT - 1]].map((at) => at.join(",")).join(" "),
  });
}

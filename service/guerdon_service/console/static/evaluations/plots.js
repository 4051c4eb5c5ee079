/** Intervals and reliability as drawings. */
import { s } from "../dom.js";
import { plain } from "../format.js";

/** One interval on the line from 0 to 1, with a mark at one half. */
export function forest({ value, low, high }) {
  return s(
    "svg",
    { class: "forest", viewBox: "-4 0 128 16", "aria-hidden": "true" },
    s("line", { class: "rail", x1: 0, x2: 120, y1: 8, y2: 8 }),
    s("line", { class: "rule", x1: 60, x2: 60, y1: 1, y2: 15 }),
    s("line", { class: "whisker", x1: low * 120, x2: high * 120, y1: 8, y2: 8 }),
    s("circle", { class: "mark", cx: value * 120, cy: 8, r: 3.5 }),
  );
}

/** Accuracy over confidence, from 0.5 to 1. */
export function reliability(bins) {
  const x = (value) => 34 + (value - 0.5) * 2 * 200;
  const y = (value) => 206 - value * 200;
  const ticks = [0.5, 0.75, 1];
  return s(
    "svg",
    {
      class: "plot",
      viewBox: "0 0 256 240",
      role: "img",
      "aria-label": "Reliability: accuracy over confidence; on the diagonal, probabilities are right",
    },
    ticks.map((at) => s("text", { x: x(at), y: 224, "text-anchor": "middle" }, plain(at, 2))),
    [0, 0.5, 1].map((at) => [
      s("text", { x: 28, y: y(at) + 4, "text-anchor": "end" }, plain(at, 1)),
      s("line", { class: "rail", x1: x(0.5), x2: x(1), y1: y(at), y2: y(at) }),
    ]),
    s("line", { class: "rule", x1: x(0.5), y1: y(0.5), x2: x(1), y2: y(1) }),
    bins.map(({ confidence, accuracy }) => [
      s("line", {
        class: "whisker",
        x1: x(confidence),
        x2: x(confidence),
        y1: y(accuracy.low),
        y2: y(accuracy.high),
      }),
      s("circle", { class: "mark", cx: x(confidence), cy: y(accuracy.value), r: 3.5 }),
    ]),
    s("text", { x: 134, y: 238, "text-anchor": "middle" }, "confidence"),
  );
}

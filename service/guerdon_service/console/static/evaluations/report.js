/** What an evaluation found. */
import { h } from "../dom.js";
import { interval, percent, plain, signed } from "../format.js";
import { badge, facts, table } from "../parts.js";
import { verdictMark } from "./marks.js";
import { forest, reliability } from "./plots.js";
import robustness from "./robustness.js";

export default function report({ report: found }) {
  const { candidate } = found;
  return [
    headline(found),
    h("section", { class: "card" }, h("h2", {}, "Slices"), slices(candidate.slices, found.comparison)),
    candidate.calibration &&
      h("section", { class: "card" }, h("h2", {}, "Calibration"), calibration(candidate.calibration)),
    candidate.robustness.length > 0 &&
      h("section", { class: "card" }, h("h2", {}, "Robustness"), robustness(found)),
    h("section", { class: "card" }, h("h2", {}, "Other figures"), otherFigures(found)),
    h("section", { class: "card" }, h("h2", {}, "Worst disagreements"), disagreements(found.disagreements)),
  ];
}

function headline({ accuracy, comparison, data }) {
  const figures = [
    figure("Accuracy", percent(accuracy.value), `${percent(accuracy.low)} to ${percent(accuracy.high)}`),
  ];
  if (comparison) {
    const { delta, verdict } = comparison;
    figures.push(
      figure(
        "Difference",
        signed(delta.value * 100, 1),
        `${signed(delta.low * 100, 1)} to ${signed(delta.high * 100, 1)} points`,
      ),
      figure("Verdict", verdictMark(verdict), `margin ${plain(comparison.margin, 2)}`),
    );
  }
  return h(
    "section",
    { class: "card", "aria-label": "What it found" },
    h("div", { class: "figures" }, figures),
    facts(
      [
        ["Items", `${data.num_items} about ${data.num_clusters} prompts, ${data.num_ties} ties`],
        comparison && [
          "Could have found",
          `a difference of ${percent(comparison.minimum_detectable_effect)} (80\u2009% power)`,
        ],
        comparison && [
          "p-value of any difference (McNemar, mid-p)",
          comparison.mid_p < 0.0001 ? "below 0.0001" : plain(comparison.mid_p, 4),
        ],
      ].filter(Boolean),
    ),
    h("p", { class: "hint" }, "Intervals are at 95\u2009%, with prompts as the independent observations."),
  );
}

export function figure(name, value, below) {
  return h(
    "div",
    { class: "tile" },
    h("p", { class: "name" }, name),
    h("p", { class: "value" }, value),
    h("p", { class: "hint" }, below),
  );
}

function slices(given, comparison) {
  if (!given.length) return h("p", { class: "hint" }, "The data names no slices.");
  const rows = given.map(({ kind, name, found }) => {
    const against = comparison?.slices[`${kind} ${name}`];
    return [
      kind,
      name,
      String(found.num_items),
      interval(found.accuracy),
      forest(found.accuracy),
      plain(found.longer),
      against ? [verdictMark(against.verdict), " ", signed(against.delta.value)] : "",
    ];
  });
  const columns = [
    ["Kind"],
    ["Slice"],
    ["Items", "number"],
    ["Accuracy", "number"],
    ["0 to 1"],
    ["Longer wins", "number"],
    ["Against the baseline"],
  ];
  return table(
    "Accuracy by slice",
    comparison ? columns : columns.slice(0, -1),
    comparison ? rows : rows.map((row) => row.slice(0, -1)),
  );
}

function calibration({ num_pairs, slope, error }) {
  return h(
    "div",
    { class: "columns" },
    reliability(error.bins),
    facts([
      ["ECE", interval(error.ece)],
      ["Brier score", interval(error.brier)],
      ["Log loss", `${interval(error.nll)} nats`],
      ["Slope served", plain(slope)],
      ["Pairs", String(num_pairs)],
    ]),
  );
}

function otherFigures({ candidate, ceiling, nll_difference, length_rise }) {
  const { length, ties, num_refused, style, rewardbench } = candidate;
  return facts(
    [
      nll_difference && ["Log loss less the baseline's", `${interval(nll_difference, signed)} nats`],
      ceiling && [
        "A perfect model reaches",
        `${plain(ceiling.low)} to ${plain(ceiling.high)} on the ${ceiling.num_items} pairs with votes; this one ${plain(ceiling.accuracy)}`,
      ],
      rewardbench && [
        `RewardBench ${rewardbench.version}`,
        `${plain(rewardbench.score)} (${Object.entries(rewardbench.sections)
          .map(([name, value]) => `${name} ${plain(value)}`)
          .join(", ")})`,
      ],
      style && [
        "Against style",
        `easy ${plain(style.easy)}, normal ${plain(style.normal)}, hard ${plain(style.hard)}, overall ${plain(style.overall)}`,
      ],
      length && ["Correlation with length", signed(length.correlation)],
      length_rise && ["Above the baseline's, without signs", interval(length_rise, signed)],
      length?.matched && ["Accuracy, lengths matched", interval(length.matched)],
      length && [`Over \u201c${length.heuristic}\u201d`, interval(length.over_heuristic, signed)],
      ties && [
        "Ties",
        `${ties.num_ties}, at ${plain(ties.distance)} from even (decided pairs: ${plain(ties.distance_decided)})`,
      ],
      ["Refused", String(num_refused)],
    ].filter(Boolean),
  );
}

function disagreements(items) {
  if (!items.length) return h("p", { class: "hint" }, "None: the model agrees with every label.");
  return items.map((it) =>
    h(
      "details",
      { class: "item" },
      h("summary", {}, `${it.prompt.slice(0, 90)} `, badge(`P = ${plain(it.probability, 2)}`)),
      facts([
        ["Prompt", h("span", { class: "text" }, it.prompt)],
        [
          "People preferred",
          h("span", { class: "text" }, it.preferred, " ", badge(signed(it.reward_preferred))),
        ],
        [
          "Scored higher",
          h("span", { class: "text" }, it.scored_higher, " ", badge(signed(it.reward_scored_higher))),
        ],
      ]),
    ),
  );
}

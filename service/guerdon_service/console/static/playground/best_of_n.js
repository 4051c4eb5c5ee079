/** Sample n responses of a policy; each is shown as soon as it is scored. */
import { events } from "../api.js";
import { h, show } from "../dom.js";
import { plain, signed } from "../format.js";
import { badge, button, facts, field, marks, provenance, select } from "../parts.js";
import verb from "./verb.js";

/** Name, label, value, hint, and how small and in what steps. */
const SAMPLING = [
  ["n", "Responses", 8, "", 1, 1],
  ["max_tokens", "Most tokens", 64, "", 1, 1],
  ["temperature", "Temperature", 1, "0 is greedy", 0, 0.1],
  ["top_p", "Top p", 1, "", 0.05, 0.05],
  ["seed", "Seed", 0, "equal seeds, equal responses", 0, 1],
];
const CHOICE = [
  ["conservatism", "Conservatism", 0, "k of reward \u2212 k · std", 0, 0.1],
  ["choice_temperature", "Choice temperature", 0, "0 takes the best", 0, 0.1],
  ["min_margin", "Least margin", 0, "abstain below it", 0, 0.1],
  ["patience", "Patience", 0, "stop after so many without a better one", 0, 1],
];

export default function bestOfN({ turns, options, policies, signal }) {
  const policy = select(
    policies.map((name) => [name, name]),
    policies[0],
  );
  const numbers = Object.fromEntries(
    [...SAMPLING, ...CHOICE].map(([name, , value, , min, step]) => [
      name,
      h("input", { type: "number", value, min, step }),
    ]),
  );
  const fields = (rows) =>
    h(
      "div",
      { class: "columns narrow" },
      rows.map(([name, label, , hint]) => field(label, numbers[name], hint)),
    );
  let running = null;
  const stop = button("Stop", () => running?.abort(), "");
  stop.disabled = true;
  signal.addEventListener("abort", () => running?.abort());
  return verb({
    name: "Sample",
    hint: "Candidates appear here as they are scored; the choice comes last.",
    turns,
    options,
    fields: [
      field("Policy", policy),
      fields(SAMPLING),
      h("details", {}, h("summary", {}, "How to choose"), fields(CHOICE)),
    ],
    buttons: stop,
    isRead: false, // the list is drawn anew with each candidate; its status alone is read out
    run: async (draw) => {
      running = new AbortController();
      stop.disabled = false;
      const asked = { policy: policy.value, ...turns.read(), ...options.read(), ...values(numbers) };
      const shown = candidatesView(asked.n);
      draw(shown.elements);
      try {
        await follow({ ...asked, stream: true }, running.signal, shown);
      } finally {
        stop.disabled = true;
      }
    },
  });
}
bestOfN.title = "Best of n";

/** Show each candidate as it comes; of a run that breaks off what had come stays. */
async function follow(body, signal, shown) {
  try {
    for await (const { name, data } of events("POST", "v1/best-of-n", { body, signal })) {
      if (name === "candidate") shown.add(data);
      else shown.end(data);
    }
  } catch (error) {
    if (error.name === "AbortError") shown.stopped();
    else if (shown.isEmpty()) throw error;
    else shown.fail(error);
  }
}

/** What was typed; an empty field is left to the service. */
function values(numbers) {
  const given = Object.entries(numbers).filter(([, input]) => input.value !== "");
  return Object.fromEntries(given.map(([name, input]) => [name, input.valueAsNumber]));
}

/** The growing list of candidates, best first. */
function candidatesView(n) {
  const status = h("p", { role: "status", class: "hint" }, `0 of ${n} scored`);
  const progress = h("progress", { max: n, value: 0, "aria-label": "Candidates scored" });
  const list = h("ol", { class: "ranking" });
  const end = h("div");
  const arrived = [];
  let isDone = false;

  function draw(best, newest) {
    const order = [...arrived].sort((x, y) => y.score.reward - x.score.reward || x.index - y.index);
    show(
      list,
      order.map((candidate) => item(candidate, candidate.index === best, candidate.index === newest)),
    );
  }

  return {
    elements: [status, progress, list, end],
    isEmpty: () => arrived.length === 0,
    add(candidate) {
      arrived.push(candidate);
      progress.value = arrived.length;
      status.textContent = `${arrived.length} of ${n} scored`;
      draw(null, candidate.index);
    },
    end(result) {
      isDone = true;
      arrived.splice(0, Infinity, ...result.candidates);
      progress.remove();
      status.textContent = outcome(result);
      draw(result.best);
      show(end, bounds(result), provenance(result));
    },
    fail(error) {
      progress.remove();
      status.textContent = `${error.message} (${arrived.length} of ${n} had been scored)`;
    },
    stopped() {
      if (isDone) return;
      progress.remove();
      status.textContent = `Stopped: ${arrived.length} of ${n} scored, none chosen`;
    },
  };
}

function item({ index, response, finish_reason, score, duplicate_of }, isBest, isNew) {
  return h(
    "li",
    { class: isBest ? "best" : isNew ? "new" : null },
    h("span", { class: "number" }, signed(score.reward)),
    h(
      "div",
      {},
      h("p", { class: "text" }, response),
      h(
        "div",
        { class: "row" },
        isBest && badge("chosen", "accent"),
        badge(`candidate ${index + 1}`),
        finish_reason === "length" && badge("cut at the most tokens", "fair"),
        duplicate_of !== null && badge(`same as candidate ${duplicate_of + 1}`),
        marks(score),
      ),
    ),
  );
}

function outcome(result) {
  if (result.abstained) return "Abstained: the best leads the second by less than the least margin";
  const note = result.partial ? ", from what had arrived" : result.stopped_early ? ", stopped early" : "";
  return `Candidate ${result.best + 1} of ${result.candidates.length} is chosen${note}`;
}

function bounds(result) {
  return facts([
    ["KL from the policy, at most", `${plain(result.kl_upper_bound)} nats`],
    ["Win rate against one sample, at most", plain(result.expected_win_rate)],
  ]);
}

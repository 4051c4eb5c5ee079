/** What several pages show. */
import { ApiError } from "./api.js";
import { h, s } from "./dom.js";
import { count, digest, interval, ms, plain, signed } from "./format.js";

let ids = 0;

/** A control with its label, and a hint where it needs one. */
export function field(label, control, hint) {
  control.id ||= `c${++ids}`;
  if (hint) control.setAttribute("aria-describedby", `${control.id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("p", { class: "hint", id: `${control.id}-hint` }, hint),
  );
}

export function select(options, chosen) {
  return h(
    "select",
    {},
    options.map(([value, name]) => h("option", { value, selected: value === chosen }, name)),
  );
}

export function button(name, onClick, kind = "") {
  return h("button", { type: "button", class: kind, on: { click: onClick } }, name);
}

export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}

/** The champion's stands out. */
export function aliasBadge(alias, text = alias) {
  return badge(text, alias === "champion" ? "accent" : "");
}

/** An error as a person can use it, or any other message. */
export function notice(error, kind = "bad") {
  const message = error instanceof Error ? error.message : error;
  const param = error instanceof ApiError && error.param;
  return h(
    "div",
    { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
    h("p", {}, message),
    param && h("p", { class: "hint" }, `about: ${param}`),
  );
}

/** A table that scrolls by itself where it is too wide. Columns are ``[name, kind]``; kind "number" is on the right. */
export function table(name, columns, rows) {
  const kinds = columns.map(([, kind]) => kind ?? "");
  const cells = (row) => row.map((cell, i) => h("td", { class: kinds[i] }, cell));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => h("tr", {}, cells(row))),
      ),
    ),
  );
}

/** Names and values, one under the other. */
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/** A bar from the middle to the left or to the right; `most` is half of its width. */
export function balance(value, most) {
  const width = (Math.min(1, Math.abs(value) / most) || 0) * 50;
  return s(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "rail", width: 100, height: 8, rx: 1 }),
    s("rect", { class: value < 0 ? "less" : "more", x: value < 0 ? 50 - width : 50, width, height: 8 }),
    s("line", { class: "middle", x1: 50, x2: 50, y1: 0, y2: 8 }),
  );
}

/** A share from 0 to 1 with an optional interval. */
export function share(value, low, high) {
  return s(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "rail", width: 100, height: 8, rx: 1 }),
    s("rect", { class: "more", width: value * 100, height: 8 }),
    low !== undefined &&
      s("rect", { class: "whisker", x: low * 100, width: (high - low) * 100, y: 3, height: 2 }),
  );
}

/** Everything about one reward. */
export function score(given) {
  const attributes = Object.entries(given.attributes);
  const most = Math.max(3, ...attributes.map(([, value]) => Math.abs(value)));
  return h(
    "div",
    { class: "score" },
    h(
      "p",
      { class: "figure" },
      h("span", { class: "name" }, "Reward"),
      h("strong", {}, signed(given.reward)),
    ),
    h(
      "div",
      { class: "attributes" },
      attributes.map(([name, value]) => [
        h("span", {}, name),
        balance(value, most),
        h("span", { class: "number" }, signed(value)),
      ]),
    ),
    marks(given),
  );
}

/** How many tokens it took, and what else there is to know of a score. */
export function marks({ tokens, truncated, cached, std }) {
  return h(
    "p",
    { class: "marks" },
    badge(count(tokens, "token")),
    truncated && badge("prompt cut on the left", "fair"),
    cached && badge("cached"),
    std > 0 && badge(`± ${plain(std)}`),
  );
}

/** Who gave the numbers, and what they cost. */
export function provenance({ model, usage }) {
  return h(
    "p",
    { class: "provenance" },
    `${model.name}@${model.version}`,
    h("span", {}, `digest ${digest(model.digest)}`),
    h("span", {}, `profile ${model.profile}`),
    h("span", {}, `${model.backend}, ${model.dtype}`),
    usage && h("span", {}, `${count(usage.tokens, "token")}, ${usage.cached} of ${usage.items} cached`),
    usage &&
      h(
        "span",
        {},
        `queue ${ms(usage.queue_ms)}, forward ${ms(usage.forward_ms)}, total ${ms(usage.total_ms)}`,
      ),
  );
}

/** Run `work` while `control` is off and `output` is busy; what fails is shown there. */
export async function busily(control, output, work) {
  control.disabled = true;
  output.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") output.replaceChildren(notice(error));
  } finally {
    control.disabled = false;
    output.removeAttribute("aria-busy");
    if (document.activeElement === document.body) control.focus({ preventScroll: true }); // lost while it was off
    reveal(output);
  }
}

/** Where the result stands below what is seen, as on a phone, go there. */
function reveal(output) {
  if (output.getBoundingClientRect().top > innerHeight * 0.7) output.scrollIntoView({ block: "start" });
}

/** Something that is drawn, by `fill(box)`, once somebody opens it. */
export function folded(summary, fill, isOpen = false) {
  const box = h("div", { class: "stack" });
  const draw = () => box.firstChild ?? fill(box);
  return h("details", { open: isOpen, on: { toggle: draw } }, h("summary", {}, summary), box);
}

/** Ctrl+Enter (or Cmd+Enter) anywhere in the form submits it. */
export function form(onSubmit, ...children) {
  const made = h("form", { class: "stack", novalidate: true }, children);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!made.querySelector("[type=submit]")?.disabled) onSubmit();
    }
  });
  return made;
}

/** A modal dialog with a title; it is gone once closed, or when the page is left. `fill(close)` gives its content. */
export function openDialog(title, signal, fill) {
  const id = `c${++ids}`;
  const dialog = h("dialog", { "aria-labelledby": id });
  const close = () => dialog.close();
  dialog.append(h("h2", { id }, title), ...[fill(close)].flat());
  dialog.addEventListener("close", () => dialog.remove());
  signal.addEventListener("abort", close);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Whatever a manifest or a report holds, as names and values; an interval is one value. */
export function tree(value) {
  if (value === null || typeof value !== "object") return leaf(value);
  if (Array.isArray(value)) {
    if (value.every((it) => it === null || typeof it !== "object"))
      return value.map((it, i) => [i > 0 && ", ", leaf(it)]);
    return h(
      "ol",
      { class: "tree" },
      value.map((it) => h("li", {}, tree(it))),
    );
  }
  if (["value", "low", "high"].every((key) => typeof value[key] === "number")) return interval(value);
  return h(
    "dl",
    { class: "facts tree" },
    Object.entries(value).map(([name, it]) => [h("dt", {}, name), h("dd", {}, tree(it))]),
  );
}

function leaf(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return plain(value, 4);
  if (typeof value === "string" && /^[0-9a-f]{40,64}$/.test(value)) return h("code", {}, value);
  return value === null ? "none" : String(value);
}

/** ``NAME@VERSION``. */
export function reference({ name, version }) {
  return `${name}@${version}`;
}

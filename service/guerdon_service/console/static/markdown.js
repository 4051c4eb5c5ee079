/** Markdown as elements, as far as model cards use it. Text stays text, and a link says where it leads. */
import { h } from "./dom.js";
import { table } from "./parts.js";

const FENCE = /^\s*(```|~~~)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^\s*(?:[-*+]|(\d+)[.)])\s+/;
const RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const INLINE = /(`[^`]+`|\*\*.+?\*\*|\*[^*\s][^*]*\*|!?\[[^\]]*\]\([^)\s]+\))/;
const LINK = /^!?\[([^\]]*)\]\(([^)\s]+)\)$/;

/** Elements of `text`; its headings begin at level `top`. */
export function markdown(text, top = 4) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const [element, next] = block(lines, at, top);
    if (element) made.push(element);
    at = next;
  }
  return made;
}

/** What begins at line `at`, and where it ends. */
function block(lines, at, top) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (at === 0 && line === "---") return code(lines, 0, /^---$/); // the fields that hubs keep in front
  if (FENCE.test(line)) return code(lines, at, FENCE);
  const heading = HEADING.exec(line);
  if (heading) return [h(`h${Math.min(6, top - 1 + heading[1].length)}`, {}, inline(heading[2])), at + 1];
  if (isTable(lines, at)) return grid(lines, at);
  if (ITEM.test(line)) return list(lines, at);
  const end = until(lines, at + 1, (next) => begins(lines, next));
  return [h("p", {}, inline(lines.slice(at, end).join(" "))), end];
}

function begins(lines, at) {
  const line = lines[at];
  return !line.trim() || FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || isTable(lines, at);
}

function until(lines, from, stops) {
  let at = from;
  while (at < lines.length && !stops(at)) at += 1;
  return at;
}

function code(lines, at, fence) {
  const end = until(lines, at + 1, (next) => fence.test(lines[next]));
  return [h("pre", { tabindex: 0 }, lines.slice(at + 1, end).join("\n")), end + 1];
}

function list(lines, at) {
  const end = until(lines, at + 1, (next) => begins(lines, next) && !ITEM.test(lines[next]));
  const items = [];
  for (const line of lines.slice(at, end)) {
    if (ITEM.test(line)) items.push(line.replace(ITEM, ""));
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  const first = ITEM.exec(lines[at])[1];
  const made = items.map((item) => h("li", {}, inline(item)));
  return [first ? h("ol", { start: first }, made) : h("ul", {}, made), end];
}

function isTable(lines, at) {
  return lines[at].includes("|") && RULE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-");
}

function grid(lines, at) {
  const end = until(lines, at + 2, (next) => !lines[next].includes("|"));
  const kinds = cells(lines[at + 1]).map((rule) => (/^[^:].*:$/.test(rule) ? "number" : ""));
  const columns = cells(lines[at]).map((name, i) => [inline(name), kinds[i]]);
  const rows = lines.slice(at + 2, end).map((line) => cells(line).map(inline));
  return [table(`Table at line ${at + 1} of the card`, columns, rows), end];
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.replaceAll("\\|", "|").trim());
}

/** What stands within a line. */
export function inline(text) {
  return text.split(INLINE).map((part) => {
    if (/^`[^`]+`$/.test(part)) return h("code", {}, part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return h("strong", {}, inline(part.slice(2, -2)));
    if (/^\*[^*]+\*$/.test(part)) return h("em", {}, inline(part.slice(1, -1)));
    const link = LINK.exec(part);
    return link ? `${link[1]} (${link[2]})` : part;
  });
}

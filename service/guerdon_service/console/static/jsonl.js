/** JSON Lines that a person pastes or chooses as a file. */
import { h } from "./dom.js";
import { field } from "./parts.js";

/** A text area that a file can fill, and `read`, which gives the records or throws what is wrong in which line. */
export function jsonlInput(label, hint, example) {
  const area = h("textarea", { rows: 6, spellcheck: "false", class: "code", placeholder: example });
  const file = h("input", { type: "file", accept: ".jsonl,.json,.ndjson,application/x-ndjson" });
  file.addEventListener("change", async () => {
    if (file.files[0]) area.value = await file.files[0].text();
  });
  return {
    element: h("div", { class: "stack" }, field(label, area, hint), field("Or a file", file)),
    read: () => readJsonl(area.value),
    fileName: () => file.files[0]?.name ?? "",
  };
}

export function readJsonl(text) {
  const lines = text.split("\n").map((line, i) => [i + 1, line.trim()]);
  const records = lines.filter(([, line]) => line).map(([number, line]) => readLine(number, line));
  if (!records.length) throw new Error("There are no records; give one JSON object a line.");
  return records;
}

function readLine(number, line) {
  let record;
  try {
    record = JSON.parse(line);
  } catch (error) {
    throw new Error(`Line ${number} is not JSON: ${error.message}`, { cause: error });
  }
  if (record === null || typeof record !== "object" || Array.isArray(record))
    throw new Error(`Line ${number} is not a JSON object.`);
  return record;
}

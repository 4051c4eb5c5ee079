/** The API as the service itself describes it: every route, and the shapes of what it takes and gives. */
import { ask } from "../api.js";
import { h, show } from "../dom.js";
import { inline } from "../markdown.js";
import { badge, folded, table } from "../parts.js";

const SHAPES = "#/components/schemas/";
const BOUNDS = {
  minimum: "at least",
  maximum: "at most",
  exclusiveMinimum: "above",
  exclusiveMaximum: "below",
  minLength: "characters, at least",
  maxLength: "characters, at most",
  minItems: "items, at least",
  maxItems: "items, at most",
};

export default async function reference(view, [opened], signal) {
  const { info, openapi, paths, components } = await ask("GET", "openapi.json", { signal });
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => route(method, path, operation)),
  );
  const shapes = Object.entries(components.schemas).map(([name, schema]) => shape(name, schema, opened));
  view.append(
    h("h1", {}, "API"),
    h("p", {}, inline(info.description)),
    h(
      "p",
      { class: "hint" },
      `Version ${info.version}. For programs, OpenAPI ${openapi}: `,
      h("code", {}, "/openapi.json"),
    ),
    h("section", { class: "card", "aria-label": "Routes" }, h("h2", {}, "Routes"), routes),
    h("section", { class: "card", "aria-label": "Shapes" }, h("h2", {}, "Shapes"), shapes),
  );
  view.querySelector("details[open]")?.scrollIntoView();
}
reference.title = "API";

function route(method, path, operation) {
  const { summary, description, tags, security, parameters, requestBody, responses } = operation;
  const name = [
    badge(method.toUpperCase(), method === "get" ? "" : "accent"),
    " ",
    h("code", {}, path),
    tags && [" ", badge(tags.join(", "))],
    h("span", { class: "hint" }, " ", inline(summary)),
  ];
  return folded(name, (box) => {
    const replies = Object.entries(responses).map(([status, it]) => [status, it.description, contentOf(it)]);
    show(
      box,
      description && h("p", { class: "text" }, description),
      security?.length === 0 && h("p", { class: "hint" }, "Needs no key."),
      parameters && fields(`Parameters of ${method} ${path}`, parameters.map(parameter)),
      requestBody && h("p", {}, "Takes ", contentOf(requestBody)),
      table(`Replies of ${method} ${path}`, [["Status"], [""], ["Gives"]], replies),
    );
  });
}

function parameter({ name, required, description, schema }) {
  return [name, required, { description, ...schema }];
}

function shape(name, schema, opened) {
  const { description, properties = {}, required = [], examples = [] } = schema;
  const rows = Object.entries(properties).map(([field, it]) => [field, required.includes(field), it]);
  const draw = (box) =>
    show(
      box,
      description && h("p", { class: "text" }, description),
      rows.length > 0 && fields(`Fields of ${name}`, rows),
      examples.map((it) => h("pre", { tabindex: 0 }, JSON.stringify(it, null, 2))),
    );
  return folded(h("code", {}, name), draw, name === opened);
}

function fields(name, rows) {
  return table(
    name,
    [["Name"], ["Type"], [""]],
    rows.map(([field, isRequired, schema]) => [
      [h("code", {}, field), isRequired && [" ", badge("needed")]],
      typeOf(schema),
      inline([schema.description, bounds(schema)].filter(Boolean).join(" ")),
    ]),
  );
}

/** Media types, each with its shape. */
function contentOf({ content = {} }) {
  return Object.entries(content).map(([media, { schema }], i) => [
    i > 0 && ", ",
    schema?.$ref ? typeOf(schema) : `${media} ${schema?.description ?? ""}`,
  ]);
}

/** A type in words; a shape is a link to where it is told. */
function typeOf(schema) {
  const { $ref, anyOf, items, additionalProperties } = schema;
  if ($ref?.startsWith(SHAPES)) {
    const name = $ref.slice(SHAPES.length);
    return h("a", { href: `#/api/${name}` }, name);
  }
  if (anyOf) return anyOf.map((it, i) => [i > 0 && " or ", typeOf(it)]);
  if (schema.enum) return schema.enum.map((it) => JSON.stringify(it)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (items) return ["list of ", typeOf(items)];
  if (additionalProperties && additionalProperties !== true) return ["map of ", typeOf(additionalProperties)];
  return schema.type ?? "anything";
}

function bounds(schema) {
  const told = [schema, ...(schema.anyOf ?? [])].flatMap((it) =>
    Object.entries(BOUNDS).flatMap(([key, words]) => (key in it ? [`${words} ${it[key]}`] : [])),
  );
  return told.length ? `(${told.join(", ")})` : "";
}

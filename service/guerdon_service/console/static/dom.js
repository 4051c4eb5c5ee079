/**
 * Elements without markup. Text is always a text node: whatever a model or a person wrote, it stays text.
 */
const SVG = "http://www.w3.org/2000/svg";

/** An element. `on` holds listeners; `true` is an attribute without a value; null, undefined and false are none. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a part of a drawing. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace all that is in `element`. */
export function show(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

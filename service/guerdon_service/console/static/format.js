/** Numbers, times and names for people. */

const MINUS = "\u2212";

/** A signed quantity with a real minus sign. */
export function signed(value, digits = 3) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** A quantity that is not negative as a rule. */
export function plain(value, digits = 3) {
  return value.toFixed(digits).replace("-", MINUS);
}

export function percent(share, digits = 1) {
  return (share * 100).toFixed(digits).replace("-", MINUS) + "\u2009%";
}

/** ``0.612 [0.580, 0.644]``, or the same with signs. */
export function interval({ value, low, high }, show = plain) {
  return `${show(value)} [${show(low)}, ${show(high)}]`;
}

/** Milliseconds. */
export function ms(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** Whole numbers and rates, short: 12, 1.3k, 2.1M. */
export function short(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

export function bytes(value) {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(2)} GiB` : `${(value / 2 ** 20).toFixed(0)} MiB`;
}

/** Unix seconds. */
export function when(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function digest(text) {
  return text.slice(0, 12);
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

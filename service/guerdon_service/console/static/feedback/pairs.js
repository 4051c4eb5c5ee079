/** Records of many shapes to pairs of answers, in an order that nobody can know beforehand. */

/** ``{messages, a, b, label}``; `label` is what the record says itself: "a", "b", or null. */
export function asPair(record, i) {
  const messages = messagesOf(record.messages ?? record.prompt);
  const [a, b, label] = answers(record);
  if (!messages.length || typeof a !== "string" || typeof b !== "string" || !a || !b || a === b) {
    throw new Error(`Record ${i + 1} has no prompt with two different answers; give prompt, a and b.`);
  }
  return { messages, a, b, label };
}

export function messagesOf(prompt) {
  if (Array.isArray(prompt)) return prompt.map(({ role, content }) => ({ role, content }));
  return prompt ? [{ role: "user", content: prompt }] : [];
}

function answers(record) {
  if (record.chosen !== undefined) return [textOf(record.chosen), textOf(record.rejected), "a"];
  if (Array.isArray(record.candidates)) return [...record.candidates.slice(0, 2), null];
  return [record.a, record.b, null];
}

/** A response may be a text or the turns that end with it. */
function textOf(response) {
  return Array.isArray(response) ? response.at(-1)?.content : response;
}

/** The pairs in random order, each with its sides at random: neither place nor file says which is better. */
export function shuffled(pairs) {
  const order = pairs.map((pair) =>
    random() < 0.5
      ? { ...pair, left: pair.a, right: pair.b, isSwapped: false }
      : { ...pair, left: pair.b, right: pair.a, isSwapped: true },
  );
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
}

/**
 * The REST API. The key travels in a header and lives in this tab's session storage: no cookie, so no other
 * site can act with it, and no script of another origin can read it.
 */
const KEY = "guerdon.key";
/** Browsers let 64 KiB outlive their page, and a character may take three bytes. */
const KEPT_ALIVE_CHARS = 20_000;

/** What the service refused, in its one shape of errors. */
export class ApiError extends Error {
  constructor(status, { code, message, param }) {
    super(message);
    Object.assign(this, { status, code, param });
  }
}

export function apiKey() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepApiKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The JSON that `path` (such as ``v1/models``) answers with; null when it answers with nothing. */
export async function ask(method, path, { body, signal, keepalive } = {}) {
  const reply = await request(method, path, { body, signal, keepalive });
  return reply.status === 204 ? null : reply.json();
}

export async function text(path, { signal } = {}) {
  return (await request("GET", path, { signal })).text();
}

/** Server-sent events as ``{name, data}``; an event `error` is thrown. */
export async function* events(method, path, { body, signal } = {}) {
  const reply = await request(method, path, { body, signal });
  if (!reply.headers.get("content-type").startsWith("text/event-stream")) throw new Error("no event stream");
  let rest = "";
  for await (const piece of pieces(reply.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const { name, data } = read(block);
      if (name === "error") throw new ApiError(reply.status, data.error);
      yield { name, data };
    }
  }
}

async function request(method, path, { body, signal, keepalive }) {
  const headers = {};
  if (apiKey()) headers.authorization = `Bearer ${apiKey()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const url = new URL(`../${path}`, document.baseURI);
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const reply = await fetch(url, {
    method,
    headers,
    body: sent,
    signal,
    keepalive: Boolean(keepalive) && sent.length < KEPT_ALIVE_CHARS,
    credentials: "omit",
    cache: "no-store",
  });
  if (reply.ok) return reply;
  const error = await failure(reply);
  if (error.status === 401) document.dispatchEvent(new CustomEvent("guerdon:key", { detail: error.message }));
  throw error;
}

async function failure(reply) {
  try {
    return new ApiError(reply.status, (await reply.json()).error);
  } catch {
    return new ApiError(reply.status, { code: "http_error", message: `${reply.status} ${reply.statusText}` });
  }
}

/** A stream's chunks; it is cancelled when nobody reads on. */
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read(block) {
  const fields = Object.fromEntries(
    block
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
  );
  return { name: fields.event, data: JSON.parse(fields.data) };
}

/**
 * Judgements on their way. The API takes none back, so the last few wait here and can still be undone; an id of
 * ours goes with each, and the service keeps an id once, so sending again after a failure stores nothing twice.
 */
import { ask } from "../api.js";

export const HELD = 3;

export class Outbox {
  #waiting = [];
  #sending = Promise.resolve();
  numSent = 0;

  /** `onSent` is called after each, `onFailed` with the error of one that stays. */
  constructor(onSent, onFailed) {
    Object.assign(this, { onSent, onFailed });
  }

  get numWaiting() {
    return this.#waiting.length;
  }

  add(judgement) {
    this.#waiting.push({ ...judgement, id: crypto.randomUUID() });
    return this.#send(HELD);
  }

  /** The last judgement is as if never given; false when it is gone already. */
  undo() {
    return this.#waiting.pop() !== undefined;
  }

  /** Send everything; true when all of it is stored. */
  async flush() {
    await this.#send(0);
    return this.numWaiting === 0;
  }

  /** The page is going away: send what waits without looking back. */
  flushNow() {
    for (const body of this.#waiting.splice(0))
      ask("POST", "v1/feedback", { body, keepalive: true }).catch(() => {});
  }

  #send(keep) {
    this.#sending = this.#sending.then(() => this.#sendDown(keep));
    return this.#sending;
  }

  async #sendDown(keep) {
    while (this.#waiting.length > keep) {
      const body = this.#waiting.shift();
      try {
        await ask("POST", "v1/feedback", { body, keepalive: true });
      } catch (error) {
        this.#waiting.unshift(body);
        this.onFailed(error);
        return;
      }
      this.numSent += 1;
      this.onSent();
    }
  }
}

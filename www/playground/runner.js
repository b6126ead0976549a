// The page's side of the Worker.

export class Runner {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #lastId = 0;
  /** Whether the Worker stopped. */
  ended = false;

  /** `onEnd` hears why the Worker stopped, should it; every call then fails. */
  constructor(onEnd) {
    this.#worker.onmessage = ({ data }) => (data.panic ? this.#end(data.panic, onEnd) : this.#answer(data));
    this.#worker.onerror = ({ message }) => this.#end(message || "its script could not be loaded", onEnd);
  }

  /** Calls a function of the Worker. A failure has `code`, `message` and `hint`. */
  call(call, argument, onProgress = () => {}) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, call, argument });
    });
  }

  /** Asks for the end of the call at hand, which then fails. */
  stop() {
    this.#worker.postMessage({ call: "stop" });
  }

  #answer({ id, progress, result, error }) {
    const { resolve, reject, onProgress } = this.#waiting.get(id);
    if (progress) return onProgress(progress);
    this.#waiting.delete(id);
    return error ? reject(error) : resolve(result);
  }

  #end(message, onEnd) {
    this.ended = true;
    this.#worker.terminate();
    const stopped = { code: "worker_stopped", message, hint: "reload this page" };
    for (const { reject } of this.#waiting.values()) reject(stopped);
    this.#waiting.clear();
    onEnd(stopped);
  }
}

// Reads one package over HTTP, in order, into buffers that the caller gives.
// The copy loop stands here, and not in Rust, so that the bytes never pass through wasm memory.

/** A broken stream is taken up again so often, with a `Range` request. */
const MAX_RESUMES = 3;
const FIRST_RESUME_DELAY_MS = 200;
const PROGRESS_INTERVAL_MS = 100;

/** An error with a `kind` for the caller to match: status, network, short, long. */
function failure(kind, message) {
  return Object.assign(new Error(message), { kind });
}

export class PackageReader {
  #url;
  #signal;
  #reader = null;
  #etag = null;
  #rest = null; // bytes of the last chunk that nobody took yet
  #resumes = 0;
  #reportedAt = 0;

  /** Bytes handed out so far. */
  received = 0;
  /** Time spent copying chunks into the caller's buffers. */
  copyMs = 0;
  /** Bytes of the whole file as the server says, or -1. */
  contentLength = -1;

  constructor(url, signal) {
    this.#url = url;
    this.#signal = signal;
  }

  /** Sends the request and waits for its headers. */
  async open() {
    const response = await this.#fetch({});
    if (!response.ok) {
      throw failure("status", `HTTP status ${response.status} ${response.statusText}`.trim());
    }
    this.#etag = response.headers.get("etag");
    // With a content encoding, the length counts encoded bytes.
    const length = response.headers.get("content-length");
    if (length !== null && response.headers.get("content-encoding") === null) {
      this.contentLength = Number(length);
    }
    this.#take(response);
  }

  /** Fills `view` with the next bytes of the file; `onProgress`, if given, gets `received` every now and then. */
  async fill(view, onProgress) {
    let filled = 0;
    while (filled < view.length) {
      const chunk = await this.#next();
      if (chunk === null) {
        throw failure("short", `it ended after ${this.received} bytes`);
      }
      const part = chunk.length <= view.length - filled ? chunk : chunk.subarray(0, view.length - filled);
      const began = performance.now();
      view.set(part, filled);
      const ended = performance.now();
      this.copyMs += ended - began;
      filled += part.length;
      this.received += part.length;
      this.#rest = part.length < chunk.length ? chunk.subarray(part.length) : null;
      if (ended - this.#reportedAt >= PROGRESS_INTERVAL_MS) {
        this.#reportedAt = ended;
        onProgress?.(this.received);
      }
    }
  }

  /** Makes sure that nothing is left. */
  async finish() {
    if ((await this.#next()) !== null) {
      await this.cancel();
      throw failure("long", `more bytes follow after ${this.received}`);
    }
  }

  /** Closes the connection; harmless when it is closed already. */
  async cancel() {
    await this.#reader?.cancel().catch(() => {});
  }

  async #fetch(headers) {
    try {
      return await fetch(this.#url, { headers, signal: this.#signal });
    } catch (error) {
      throw this.#signal.aborted ? error : failure("network", String(error?.message ?? error));
    }
  }

  #take(response) {
    // Safari and old Firefox give no body for an empty response.
    this.#reader = response.body?.getReader() ?? { read: async () => ({ done: true }), cancel: async () => {} };
  }

  /** The next bytes that nobody took yet; null at the end of the file. */
  async #next() {
    if (this.#rest !== null) {
      return this.#rest;
    }
    for (;;) {
      try {
        const { done, value } = await this.#reader.read();
        if (!done && value.length === 0) continue;
        if (done && this.received < this.contentLength) {
          throw new Error(`the connection closed after ${this.received} of ${this.contentLength} bytes`);
        }
        return done ? null : value;
      } catch (error) {
        if (this.#signal.aborted) throw error;
        await this.#resume(error);
      }
    }
  }

  /** Asks for the rest of the file after the stream broke with `cause`. */
  async #resume(cause) {
    const broken = `the stream broke after ${this.received} bytes: ${cause?.message ?? cause}`;
    if (this.#resumes === MAX_RESUMES) {
      throw failure("network", `${broken} (resumed ${MAX_RESUMES} times)`);
    }
    await new Promise((resolve) => setTimeout(resolve, FIRST_RESUME_DELAY_MS * 2 ** this.#resumes));
    this.#resumes += 1;
    const headers = { Range: `bytes=${this.received}-` };
    if (this.#etag !== null && !this.#etag.startsWith("W/")) headers["If-Range"] = this.#etag;
    const response = await this.#fetch(headers);
    const begins = response.headers.get("content-range")?.startsWith(`bytes ${this.received}-`);
    if (response.status !== 206 || !begins) {
      await response.body?.cancel();
      throw failure("network", `${broken}, and the server does not resume (status ${response.status})`);
    }
    this.#take(response);
  }
}

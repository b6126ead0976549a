// Reads one package over HTTP, in order, into buffers that the caller gives.
// The copy loop stands here, and not in Rust, so that the bytes never pass through wasm memory.

/** A broken stream is taken up again so often. */
const MAX_RESUMES = 3;
const FIRST_RESUME_DELAY_MS = 200;
const PROGRESS_INTERVAL_MS = 100;

/** An error with a `kind` for the caller to match: status, network, short, long. */
function failure(kind, message) {
  return Object.assign(new Error(message), { kind });
}

/** Bytes of the body as the server says, or -1 where that is not known. */
function lengthOf(response) {
  const length = response.headers.get("content-length");
  // With a content encoding the length counts encoded bytes, and another origin shows the length but not the encoding.
  const encoded = response.type === "cors" || response.headers.get("content-encoding") !== null;
  return length === null || encoded ? -1 : Number(length);
}

export class PackageReader {
  #url;
  #signal;
  #reader = null;
  #etag = null;
  #rest = null; // bytes of the last chunk that nobody took yet
  #skip = 0; // bytes to pass over: they were handed out before the stream broke
  #resumes = 0;
  #resumedAt = -1; // `received` when the stream was last taken up
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
    this.contentLength = lengthOf(response);
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
        if (done && this.received < this.contentLength) {
          throw new Error(`the connection closed after ${this.received} of ${this.contentLength} bytes`);
        }
        if (done) return null;
        const skipped = Math.min(this.#skip, value.length);
        this.#skip -= skipped;
        if (skipped < value.length) return value.subarray(skipped);
      } catch (error) {
        if (this.#signal.aborted) throw error;
        await this.#resume(error);
      }
    }
  }

  /** Asks for the rest of the file after the stream broke with `cause`. What comes is checked by digests. */
  async #resume(cause) {
    for (;;) {
      if (this.#resumes === MAX_RESUMES) {
        const broken = `the stream broke after ${this.received} bytes: ${cause?.message ?? cause}`;
        throw failure("network", `${broken} (resumed ${MAX_RESUMES} times)`);
      }
      await new Promise((resolve) => setTimeout(resolve, FIRST_RESUME_DELAY_MS * 2 ** this.#resumes));
      this.#resumes += 1;
      try {
        return await this.#takeUp();
      } catch (error) {
        if (this.#signal.aborted) throw error;
        cause = error;
      }
    }
  }

  /** Takes the stream up where it broke: by a range, or by the whole file where the last range brought nothing. */
  async #takeUp() {
    const headers = {};
    if (this.received > 0 && this.received !== this.#resumedAt) {
      // Browsers ask for ranges without an encoding, so both sides count the same bytes.
      headers.Range = `bytes=${this.received}-`;
      if (this.#etag !== null && !this.#etag.startsWith("W/")) headers["If-Range"] = this.#etag;
    }
    this.#resumedAt = this.received;
    const response = await this.#fetch(headers);
    this.#skip = this.#bytesToSkip(response);
    if (this.#skip < 0) {
      await response.body?.cancel();
      throw new Error(`the server does not resume (status ${response.status})`);
    }
    this.#take(response);
  }

  /** Bytes of a response that were handed out before; -1 if it is of no use. */
  #bytesToSkip(response) {
    // The whole file once more: from a server without ranges, or one that encodes what it sends.
    if (response.status === 200) return this.received;
    // Another origin need not show where a part begins: then it is as asked for.
    const range = response.headers.get("content-range");
    const begins = range === null ? response.type === "cors" : range.startsWith(`bytes ${this.received}-`);
    return response.status === 206 && begins && response.headers.get("content-encoding") === null ? 0 : -1;
  }
}

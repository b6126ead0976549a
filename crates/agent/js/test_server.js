// For tests only: addresses that `fetch` answers from memory, as a well or badly behaved server would.

const real = globalThis.fetch;
const files = new Map();

globalThis.fetch = (url, options = {}) => {
  const file = files.get(url);
  return file ? answer(file, options) : real(url, options);
};

/**
 * Serves `bytes` in chunks of `chunkBytes`; 0 never sends any. Each number of `breaks` is a place in the file where a connection breaks,
 * once. `length` is the content-length to claim, or -1 for none. Of `otherOrigin` only that header is seen. Gives the
 * address.
 */
export function serve(bytes, chunkBytes, breaks, resumable, length, otherOrigin) {
  const url = `/test-server/${files.size}`;
  files.set(url, { bytes, chunkBytes, breaks: [...breaks], resumable, length, otherOrigin, requests: [] });
  return url;
}

/** The `Range` headers of the requests for `url` so far; empty strings where there was none. */
export function requests(url) {
  return files.get(url).requests;
}

function answer(file, { headers = {}, signal }) {
  file.requests.push(headers.Range ?? "");
  const range = file.resumable ? headers.Range?.match(/^bytes=(\d+)-$/) : null;
  let at = range ? Number(range[1]) : 0;
  const breakAt = file.breaks.shift() ?? Infinity;
  const body = new ReadableStream({
    start(controller) {
      signal?.addEventListener("abort", () => controller.error(signal.reason));
    },
    pull(controller) {
      if (at >= breakAt) return controller.error(new TypeError("network error"));
      if (at >= file.bytes.length) return controller.close();
      if (file.chunkBytes === 0) return new Promise(() => {});
      const end = Math.min(at + file.chunkBytes, file.bytes.length, breakAt);
      controller.enqueue(file.bytes.slice(at, end));
      at = end;
    },
  });
  const fields = file.otherOrigin ? {} : { etag: '"test"' };
  if (file.length >= 0) fields["content-length"] = String(Math.max(0, file.length - at));
  if (range && !file.otherOrigin) fields["content-range"] = `bytes ${at}-${file.bytes.length - 1}/${file.bytes.length}`;
  const response = new Response(body, { status: range ? 206 : 200, headers: fields });
  if (file.otherOrigin) Object.defineProperty(response, "type", { value: "cors" });
  return Promise.resolve(response);
}

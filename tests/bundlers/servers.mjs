// A server of static files, and one that pages report to.
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";

/** Headers that make a page cross-origin isolated. */
export const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".css": "text/css" };

function listen(answer) {
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.writeHead(500).end(`${error}`));
  });
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => resolve({ url: `http://127.0.0.1:${server.address().port}/`, close }));
  });
}

/** Serves `folder`, and nothing for what is not there. */
export function serveFolder(folder) {
  return listen(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const found = await stat(file).catch(() => null);
    if (!found?.isFile()) return response.writeHead(404).end();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...ISOLATED, "Content-Type": type, "Content-Length": found.size });
    createReadStream(file).pipe(response);
  });
}

/**
 * Another origin: hands out the model, encoded as servers do that compress everything, and takes the page's report. What
 * is asked for under /stalled never ends.
 */
export async function collect({ model, input }) {
  const files = {
    "/model.safetensors": { body: gzipSync(await readFile(model), { level: 1 }), encoding: "gzip" },
    "/plain.safetensors": { body: await readFile(model) },
    "/input.json": { body: await readFile(input) },
  };
  let reported;
  const report = new Promise((resolve) => (reported = resolve));
  const server = await listen(async (request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    if (request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      response.end();
      return reported(JSON.parse(Buffer.concat(parts)));
    }
    if (request.url === "/stalled") return response.writeHead(200).flushHeaders();
    const file = files[request.url];
    if (!file) return response.writeHead(404).end();
    if (file.encoding) response.setHeader("Content-Encoding", file.encoding);
    response.writeHead(200, { "Content-Length": file.body.length }).end(file.body);
  });
  return { url: server.url.slice(0, -1), report, close: server.close };
}

// Opens a page that embeds webnibble in Chromium, and prints what it reports, as JSON on the last line.
//
//   node check.mjs --pkg FOLDER --model PACKAGE --input FILE --build vite-dev --from module --tools FOLDER
//   node check.mjs --pkg FOLDER --model PACKAGE --input FILE --page faults.html
//
// The first builds page/ (see builds.mjs); `--tools` is what scripts/fetch-bundlers.sh prints. The second opens a page of
// plain/ beside the package.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";

import { serveBuilt } from "./builds.mjs";
import { collect, serveFolder } from "./servers.mjs";

const PATIENCE_MS = 100_000;
const BROWSERS = ["chromium", "google-chrome", "chromium-browser"];
const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
  "--disable-quic", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
];

const names = ["pkg", "model", "input", "build", "from", "tools", "page"];
const { values: asked } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
const work = await mkdtemp(join(tmpdir(), "check-"));

async function servePage() {
  const root = join(work, "project");
  if (asked.build) return serveBuilt({ ...asked, root });
  await cp(join(import.meta.dirname, "plain"), root, { recursive: true });
  await cp(asked.pkg, join(root, "pkg"), { recursive: true });
  return { ...(await serveFolder(root)), warnings: [] };
}

/** The first browser on PATH. */
function findBrowser() {
  const folders = process.env.PATH.split(delimiter);
  const places = BROWSERS.flatMap((name) => folders.map((folder) => join(folder, name)));
  return places.find((file) => existsSync(file)) ?? BROWSERS[0];
}

/** Starts the browser on `url`; ends it by `close`, and rejects `failed` if it ends before. */
function open(url) {
  const flags = [...FLAGS, `--user-data-dir=${join(work, "profile")}`, url];
  // A process group of its own, so that all of its processes end with it.
  const env = { ...process.env, TMPDIR: work };
  const browser = spawn(findBrowser(), flags, { detached: true, stdio: "ignore", env });
  const ended = new Promise((resolve) => browser.once("exit", resolve));
  const failed = new Promise((_, reject) => {
    browser.once("error", reject);
    browser.once("exit", (code) => reject(new Error(`the browser ended with status ${code}`)));
  });
  failed.catch(() => {});
  const close = async () => {
    if (browser.exitCode === null && browser.pid) process.kill(-browser.pid, "SIGKILL");
    await ended;
  };
  return { failed, close };
}

function deadline() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`no report within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS).unref();
  });
}

const undo = [() => rm(work, { recursive: true, force: true, maxRetries: 10 })];
let report;
try {
  const collector = await collect(asked);
  undo.unshift(collector.close);
  const served = await servePage();
  undo.unshift(served.close);
  const browser = open(`${served.url}${asked.page ?? ""}?collector=${encodeURIComponent(collector.url)}`);
  undo.unshift(browser.close);
  const said = await Promise.race([collector.report, browser.failed, deadline()]);
  report = { ...said, warnings: served.warnings };
} finally {
  for (const step of undo) await step();
}
console.log(JSON.stringify(report));

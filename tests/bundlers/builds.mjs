// The page as applications have it: as it is, and by each bundler in development and production, with the package among
// the application's sources or in node_modules. Each gives `{ url, warnings, close }`.
import { cp, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { ISOLATED, serveFolder } from "./servers.mjs";

const page = join(import.meta.dirname, "page");

/** Puts the page into `folder`, with the package where `from` says: `source` or `module`. */
async function makeProject(folder, pkg, from) {
  await cp(page, folder, { recursive: true });
  const place = from === "module" ? "node_modules/webnibble" : "pkg";
  await cp(pkg, join(folder, place), { recursive: true });
  const name = from === "module" ? "webnibble" : "./pkg/webnibble_agent.js";
  await writeFile(join(folder, "webnibble.js"), `export * from "${name}";\nexport { default } from "${name}";\n`);
  return folder;
}

function logger() {
  const warnings = [];
  const note = (message) => warnings.push(message);
  const [quiet, never] = [() => {}, () => false];
  const says = { info: quiet, warn: note, warnOnce: note, error: note, clearScreen: quiet };
  return { ...says, warnings, hasErrorLogged: never, hasWarned: false };
}

const viteOf = (tools) => import(pathToFileURL(join(tools, "node_modules/vite/dist/node/index.js")));

function webpackOf(tools) {
  const require = createRequire(join(tools, "package.json"));
  return { webpack: require("webpack"), Server: require("webpack-dev-server") };
}

async function viteDev({ root, tools, from }) {
  const { createServer } = await viteOf(tools);
  const log = logger();
  // The one line that docs/embedding.md asks for.
  const optimizeDeps = from === "module" ? { exclude: ["webnibble"] } : {};
  const server = await createServer({
    root,
    configFile: false,
    cacheDir: join(root, ".vite"),
    customLogger: log,
    optimizeDeps,
    server: { host: "127.0.0.1", port: 0, headers: ISOLATED },
  });
  await server.listen();
  const url = `http://127.0.0.1:${server.httpServer.address().port}/`;
  return { url, warnings: log.warnings, close: () => server.close() };
}

async function viteBuild({ root, tools }) {
  const { build } = await viteOf(tools);
  const log = logger();
  await build({ root, configFile: false, customLogger: log });
  return { ...(await serveFolder(join(root, "dist"))), warnings: log.warnings };
}

function webpackConfig(root, mode) {
  return {
    mode,
    context: root,
    entry: "./main.js",
    output: { path: join(root, "dist"), filename: "main.js" },
    // A binary is larger than what webpack thinks fit for a page.
    performance: { hints: false },
    infrastructureLogging: { level: "none" },
  };
}

async function htmlOf(root) {
  const folder = join(root, "html");
  await mkdir(folder);
  await cp(join(page, "index.html"), join(folder, "index.html"));
  return folder;
}

function problemsOf(stats) {
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  return [...errors, ...warnings].map(({ message }) => message);
}

async function webpackDev({ root, tools }) {
  const { webpack, Server } = webpackOf(tools);
  const compiler = webpack(webpackConfig(root, "development"));
  const compiled = new Promise((resolve) => compiler.hooks.done.tap("check", resolve));
  const quiet = { devMiddleware: { stats: "none" }, client: { logging: "none" } };
  const options = { host: "127.0.0.1", port: "auto", headers: ISOLATED, static: await htmlOf(root), ...quiet };
  const server = new Server({ ...options, setupExitSignals: false }, compiler);
  await server.start();
  const url = `http://127.0.0.1:${server.server.address().port}/`;
  return { url, warnings: problemsOf(await compiled), close: () => server.stop() };
}

async function webpackBuild({ root, tools }) {
  const { webpack } = webpackOf(tools);
  const compiler = webpack(webpackConfig(root, "production"));
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, done) => (error ? reject(error) : resolve(done)));
  });
  await new Promise((resolve) => compiler.close(resolve));
  await cp(join(page, "index.html"), join(root, "dist/index.html"));
  return { ...(await serveFolder(join(root, "dist"))), warnings: problemsOf(stats) };
}

const unbundled = async ({ root }) => ({ ...(await serveFolder(root)), warnings: [] });

const BUILDS = {
  plain: unbundled,
  "vite-dev": viteDev,
  "vite-build": viteBuild,
  "webpack-dev": webpackDev,
  "webpack-build": webpackBuild,
};

/** Builds and serves the page: `build` is a key of BUILDS, `from` where the package lies. */
export async function serveBuilt({ build, from, pkg, tools, root }) {
  return BUILDS[build]({ root: await makeProject(root, pkg, from), tools, from });
}

// The page for people: what can be chosen, and what happens when it is run. `view.js` shows it, the Worker computes.
import { webnnDevices } from "../capabilities.js";
import { fail } from "../elements.js";
import { Runner } from "./runner.js";
import { showAnswer, showCapabilities, showFailure, showProgress, showState } from "./view.js";

/** WebNN takes no fewer bits without asking for it. */
const WEBNN_LEAST_BITS = 8;

const SAMPLE = "How do I get rid of a stain on my shirt?\nSoak the cloth in cold water, then rub in some soap.\nThe train to the coast leaves every hour.";

const element = (id) => document.getElementById(id);
const [model, weights, platform, texts, runs, truncate] =
  ["model", "weights", "platform", "texts", "runs", "truncate"].map(element);

/** Every package that can be chosen: those that the host serves, then files that were opened here. */
const packages = [];
/** What can run here, by platform: the reason why not, or null. */
let missing = {};
/** The package and platform that the Worker has loaded, and what loading gave. */
let loaded = null;
/** Whether the Worker is at work for somebody. */
let busy = false;

const runner = new Runner((stopped) => {
  showState("refused", "stopped");
  fail("The computing part of this page stopped", stopped.message, stopped.hint);
  showButtons();
});

start();

async function start() {
  try {
    const [found, served] = await Promise.all([runner.call("start"), servedPackages()]);
    packages.unshift(...served);
    showCapabilities(found);
    offerPlatforms(found);
    restore();
    offerModels();
    showState("open", "ready");
  } catch ({ message, hint }) {
    showState("refused", "failed");
    fail("The agent did not start", message, hint || "build it with `make wasm`, then reload this page");
  }
  if (!isSecureContext) {
    const message = "This page's address is not one that browsers trust, so that they give it no GPU and no WebNN.";
    fail("WebGPU needs a secure context", message, "open it as localhost, through a tunnel such as `ssh -L`, or over https");
  }
}

/** What `webnibble serve --model …` made ready. */
async function servedPackages() {
  const response = await fetch("/packages");
  if (!response.ok) throw new Error(`the list of models: status ${response.status}: ${await response.text()}`);
  const { packages } = await response.json();
  return packages.map(({ name, quantization, activation_bits, bytes, digest, url }) => (
    { name, bytes, url, digest, quantization, activationBits: activation_bits, file: false }
  ));
}

/** Packages that a person chose. They stay on this machine: a `blob:` URL is read by this page alone. */
function addFiles(files) {
  for (const file of files) {
    const same = packages.findIndex(({ name, file: isFile }) => isFile && name === file.name);
    if (same >= 0) URL.revokeObjectURL(packages.splice(same, 1)[0].url);
    packages.push({ name: file.name, bytes: file.size, url: URL.createObjectURL(file), quantization: null, file: true });
  }
  offerModels(files.length ? modelKey({ name: files[files.length - 1].name, file: true }) : undefined);
}

const modelKey = ({ name, file }) => `${file ? "file" : "served"} ${name}`;
const ofModel = () => packages.filter((one) => modelKey(one) === model.value);
const chosen = () => packages.find(({ url }) => url === weights.value);

/** Lists the models, and chooses `wanted` where it is there. */
function offerModels(wanted = model.value || model.dataset.wanted) {
  const group = (label, file) => {
    const names = new Map(packages.filter((one) => one.file === file).map((one) => [modelKey(one), one.name]));
    return options(label, [...names].map(([key, name]) => new Option(name, key)));
  };
  model.replaceChildren(...group("served", false), ...group("opened here", true));
  choose(model, wanted);
  model.disabled = packages.length === 0;
  if (packages.length === 0) model.append(new Option("none yet: open a package, or serve a model", ""));
  offerWeights();
}

function options(label, members) {
  if (members.length === 0) return [];
  const group = document.createElement("optgroup");
  group.label = label;
  group.append(...members);
  return [group];
}

/** Lists the packages of the chosen model; those that the chosen platform does not take can be seen, and not chosen. */
function offerWeights() {
  const kept = weights.value || weights.dataset.wanted;
  weights.replaceChildren(...ofModel().map((one) => {
    const option = new Option(weightsName(one), one.url);
    option.disabled = platform.value === "webnn" && one.quantization !== null && one.quantization.bits < WEBNN_LEAST_BITS;
    if (option.disabled) option.text += " (not on WebNN)";
    return option;
  }));
  choose(weights, kept);
  weights.disabled = weights.options.length === 0;
  if (weights.disabled) weights.append(new Option("–", ""));
  showButtons();
}

function weightsName({ quantization, activationBits, bytes }) {
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  if (quantization === null) return `as in the file, ${size}`;
  const { bits, mixed_precision, attention_bits } = quantization;
  const attention = mixed_precision && attention_bits !== bits ? `, attention ${attention_bits}` : "";
  const activations = activationBits === 8 ? ", activations 8" : "";
  return `${bits} bits${attention}${activations}, ${size}`;
}

function offerPlatforms(found) {
  const { adapter, error } = found.webgpu;
  missing = {
    webgpu: adapter ? null : error ?? "the browser gave no adapter",
    webnn: webnnDevices(found).length ? null : found.webnn.present ? "no device answers" : "this browser has none",
    wasm: null,
  };
  const names = { webgpu: "WebGPU", webnn: "WebNN", wasm: "CPU (wasm)" };
  platform.replaceChildren(...Object.entries(names).map(([key, name]) => {
    const option = new Option(missing[key] === null ? name : `${name}: not here`, key);
    option.disabled = missing[key] !== null;
    option.title = missing[key] ?? "";
    return option;
  }));
  platform.value = adapter?.hardware ? "webgpu" : "wasm";
  platform.dataset.software = adapter !== null && !adapter.hardware;
}

/** Chooses what was chosen before, where it can be; else the first that can. */
function choose(list, value) {
  const possible = [...list.options].filter((option) => !option.disabled);
  list.value = (possible.find((option) => option.value === value) ?? possible[0] ?? list.options[0])?.value ?? "";
}

function platformNote() {
  const software = platform.value === "webgpu" && platform.dataset.software === "true";
  element("platform-note").hidden = !software;
  element("platform-note").textContent = software
    ? "This browser runs WebGPU on the CPU: answers are right, times say nothing about a GPU. The CPU platform is usually faster here."
    : "";
}

/** Whether something runs: then nothing else can be started. */
function setBusy(now) {
  busy = now;
  showButtons();
}

function showButtons() {
  element("run").disabled = busy || runner.ended || chosen() === undefined;
  element("stop").hidden = !busy || runner.ended;
}

async function run() {
  const lines = texts.value.split("\n").map((line) => line.trim()).filter(Boolean);
  texts.setCustomValidity(lines.length ? "" : "Type a text: the model needs something to run on.");
  const one = chosen();
  if (!element("ask").reportValidity() || !one || element("run").disabled) return;
  remember();
  const asked = { name: one.name, weights: weightsName(one), platform: platform.value, texts: lines };
  try {
    const report = await load(one, asked.platform);
    showState("connecting", "running");
    const argument = { texts: lines, options: { truncate: truncate.checked, runs: Number(runs.value) } };
    const result = await runner.call("run", argument, step(`Running ${one.name}`, "preparing"));
    showAnswer({ asked, loaded: report, ...result });
    showState("open", "ready");
  } catch (error) {
    // What is still loaded after a failure is not known for all of them.
    if (error.code !== "bad_input" && error.code !== "cancelled") loaded = null;
    // The file's name, and not its address in this page.
    showFailure({ asked, ...error, message: error.message.replaceAll(one.url, one.name) });
    if (error.code !== "worker_stopped") showState("open", "ready");
  }
  element("progress").replaceChildren();
  setBusy(false);
}

/** Loads a package, unless it is loaded already. */
async function load(one, on) {
  const key = `${one.url} ${on}`;
  if (loaded?.key === key) {
    step(`Running ${one.name}`, "preparing");
    return loaded.report;
  }
  loaded = null;
  showState("connecting", "loading");
  const options = { platform: on };
  if (one.digest) options.digest = one.digest;
  if (one.activationBits === 8 && on !== "webgpu") options.activationBits = 8;
  const report = await runner.call("load", { url: one.url, options }, step(`Loading ${one.name}`, "starting"));
  loaded = { key, report };
  return report;
}

/** Begins to show a step; gives what hears how far it is. */
function step(title, words) {
  const show = (progress) => showProgress(title, words, progress);
  show(null);
  setBusy(true);
  return show;
}

/** A reload shows what was typed and chosen; opened files have to be opened again. */
function remember() {
  const kept = { texts: texts.value, model: model.value, weights: weights.value, platform: platform.value, runs: runs.value };
  sessionStorage.setItem("asked", JSON.stringify(kept));
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem("asked") ?? "{}");
  texts.value = kept.texts ?? SAMPLE;
  runs.value = kept.runs ?? runs.value;
  if (missing[kept.platform] === null) platform.value = kept.platform;
  [model.dataset.wanted, weights.dataset.wanted] = [kept.model ?? "", kept.weights ?? ""];
  platformNote();
}

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
texts.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
texts.addEventListener("input", () => texts.setCustomValidity(""));
element("stop").addEventListener("click", () => runner.stop());
model.addEventListener("change", offerWeights);
platform.addEventListener("change", () => {
  platformNote();
  offerWeights();
});
element("file").addEventListener("change", ({ target }) => addFiles(target.files));

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  addFiles(event.dataTransfer.files);
});

// What the browser can do, for people.
import { facts, h, megabytes } from "./elements.js";

/** The WebGPU adapter. */
export function device({ webgpu }) {
  const adapter = webgpu.adapter;
  if (!adapter) {
    return [
      h("p", { class: "badge", "data-kind": "none" }, "no WebGPU"),
      h("p", {}, webgpu.error ?? "The browser gave no adapter."),
      h("p", { class: "fine" }, "Models can still run on the CPU (platform wasm)."),
    ];
  }
  const kind = adapter.hardware ? "hardware" : "software";
  const rows = [
    ["vendor", adapter.vendor],
    ["architecture", adapter.architecture],
    ["subgroups", adapter.subgroup_size ? range(adapter.subgroup_size) : null],
    ["f16 in shaders", yesNo(adapter.features.includes("shader-f16"))],
    ["timestamps", yesNo(adapter.features.includes("timestamp-query"))],
    ["largest binding", megabytes(adapter.limits.maxStorageBufferBindingSize)],
    ["workgroup", `${adapter.limits.maxComputeInvocationsPerWorkgroup} invocations`],
  ];
  const shown = [
    h("p", { class: "badge", "data-kind": kind }, adapter.hardware ? "hardware GPU" : "software adapter"),
    h("p", { class: "name" }, adapterName(adapter)),
    facts(rows),
  ];
  if (!adapter.hardware) {
    shown.push(h("p", { class: "fine" }, "WebGPU runs on the CPU here: results are right, times are not those of a GPU."));
  }
  return shown;
}

/** The adapter's name, as far as the browser tells it. */
export function adapterName({ description, device, vendor, architecture }) {
  return description || device || [vendor, architecture].filter(Boolean).join(" ") || "an adapter without a name";
}

/** Everything else. */
export function browser(found) {
  const webnn = webnnDevices(found);
  const rows = [
    ["CPU threads", found.hardware_concurrency],
    ["WebNN", found.webnn.present ? (webnn.length ? webnn.join(", ") : "present, but no device answers") : "no"],
    ["WebGL", found.webgl.version || "no"],
    ["wasm SIMD", found.wasm.relaxed_simd ? "yes, relaxed too" : yesNo(found.wasm.simd)],
    ["wasm threads", yesNo(found.wasm.threads)],
    ["isolated", yesNo(found.cross_origin_isolated)],
    ["private files", yesNo(found.opfs)],
    ["memory", found.memory.device_gib ? `about ${found.memory.device_gib} GiB` : null],
  ];
  const shown = [facts(rows), h("p", { class: "fine agent" }, found.user_agent)];
  if (found.webgl.renderer) shown.push(h("p", { class: "fine agent" }, found.webgl.renderer));
  return shown;
}

/** WebNN's devices for which a context could be made. */
export function webnnDevices({ webnn }) {
  return Object.entries(webnn.devices).filter(([, found]) => found.created).map(([name]) => name);
}

function range([least, most]) {
  return least === most ? `${least}` : `${least} to ${most}`;
}

function yesNo(value) {
  return value ? "yes" : "no";
}

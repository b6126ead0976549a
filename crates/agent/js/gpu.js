// The few WebGPU calls that the backend makes, kept in JavaScript so that an inference crosses from wasm once.
//
// Everything is decided in Rust (crates/kernels/src/plan): which buffers, pipelines and dispatches, in what order.
// Failures are thrown as Error with a `code` of the wire's ErrorCode.

import { nextTask as turn } from "./tasks.js";

// While the machine's GPU process sleeps between polls, a finished readback waits up to 2.4 ms; a tiny submit wakes it
// (docs/gpu.md has what was measured). No more pokes are sent than it keeps up with: they would pile up while it works, and
// delay what comes after.
const POKES_OUTSTANDING = 2;
const POKE_INTERVAL_MS = 0.05;
const SLOW_POKE_INTERVAL_MS = 1;
const SLOW_AFTER_MS = 30;

const ADAPTER_TRIES = 10;
const ADAPTER_PAUSE_MS = 200;

const FEATURES = ["shader-f16", "subgroups", "timestamp-query"];
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;

function fail(code, message) {
  return Object.assign(new Error(message), { code });
}

// Does `work`, and promises the first error that it made on the device, or null: models share a device, and an error is
// whose work made it.
function errorOf(device, work) {
  const filters = ["internal", "out-of-memory", "validation"];
  let scopes;
  filters.forEach((filter) => device.pushErrorScope(filter));
  try {
    work();
  } finally {
    scopes = filters.map(() => device.popErrorScope());
  }
  // A lost device tells of itself.
  return Promise.all(scopes).then((errors) => errors.find(Boolean) ?? null, () => null);
}

function codeOf(error) {
  return error.constructor.name === "GPUOutOfMemoryError" ? "out_of_memory" : "validation";
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Chromium gives no adapter for a moment after it started, so one refusal says nothing.
async function requestAdapter() {
  if (!navigator.gpu) {
    throw fail("webgpu_unavailable", "this browser has no navigator.gpu");
  }
  for (let tries = 0; tries < ADAPTER_TRIES; tries += 1) {
    if (tries > 0) {
      await pause(ADAPTER_PAUSE_MS);
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter) {
      return adapter;
    }
  }
  throw fail("webgpu_unavailable", `requestAdapter() gave no adapter, asked ${ADAPTER_TRIES} times over ${(ADAPTER_TRIES - 1) * ADAPTER_PAUSE_MS} ms`);
}

// Features and limits of an adapter or a device.
function abilities({ features, limits }) {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(limits));
  const numbers = names.filter((name) => typeof limits[name] === "number").map((name) => [name, limits[name]]);
  return { features: [...features].sort(), limits: Object.fromEntries(numbers) };
}

function describe(adapter) {
  const info = adapter.info ?? {};
  const fallback = info.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
  const names = [info.vendor, info.architecture, info.device, info.description].map((name) => name ?? "");
  return {
    vendor: names[0],
    architecture: names[1],
    device: names[2],
    description: names[3],
    hardware: !fallback && !names.some((name) => SOFTWARE.test(name)),
    ...abilities(adapter),
    subgroup_size: info.subgroupMinSize ? [info.subgroupMinSize, info.subgroupMaxSize] : null,
  };
}

// A device with what the adapter has of the wanted features and limits; with `core`, of none, and the default limits.
export async function openGpu(core) {
  const adapter = await requestAdapter();
  const limits = core ? [] : LIMITS.filter((name) => adapter.limits[name] !== undefined);
  const requiredLimits = Object.fromEntries(limits.map((name) => [name, adapter.limits[name]]));
  const requiredFeatures = core ? [] : FEATURES.filter((name) => adapter.features.has(name));
  let device;
  try {
    device = await adapter.requestDevice({ label: "webnibble", requiredFeatures, requiredLimits });
  } catch (error) {
    throw fail("webgpu_unavailable", `requestDevice() failed: ${error.message}`);
  }
  return new Gpu(device, describe(adapter));
}

export class Gpu {
  constructor(device, description) {
    this.device = device;
    this.description = description;
    this.lost = null;
    device.lost.then((info) => {
      this.lost = `${info.reason || "unknown"}: ${info.message}`;
    });
    device.addEventListener("uncapturederror", ({ error }) => {
      console.error(`webnibble: an error on the GPU outside of any request: ${error.message}`);
    });
    this.pokeBuffer = device.createBuffer({ label: "poke", size: 4, usage: GPUBufferUsage.COPY_DST });
    this.pokeData = new Uint32Array(1);
    this.pokes = 0;
  }

  // The adapter, as JSON of common::capabilities::Adapter.
  info() {
    return JSON.stringify(this.description);
  }

  // Features and limits of the device itself, as JSON.
  abilities() {
    return JSON.stringify(abilities(this.device));
  }

  lostReason() {
    return this.lost ?? undefined;
  }

  // For tests: what a driver reset or a crashed GPU process looks like from the page.
  loseDevice() {
    this.device.destroy();
  }

  checkLost() {
    if (this.lost !== null) {
      throw fail("device_lost", `the GPU device was lost (${this.lost})`);
    }
  }

  async pipeline(label, code) {
    // A kernel that does not compile is this promise's failure, and nobody else's.
    this.device.pushErrorScope("validation");
    const module = this.device.createShaderModule({ label, code });
    const settled = this.device.popErrorScope().catch(() => null);
    try {
      return await this.device.createComputePipelineAsync({ label, layout: "auto", compute: { module, entryPoint: "main" } });
    } catch (error) {
      await settled;
      this.checkLost();
      const info = await module.getCompilationInfo();
      const lines = info.messages.map((m) => `${m.type} ${m.lineNum}:${m.linePos} ${m.message}`);
      throw fail("validation", `kernel \`${label}\` failed to build: ${[error.message, ...lines].join("; ")}`);
    }
  }

  // Settles with the promise; keeps a hardware GPU process awake meanwhile.
  async settle(promise) {
    if (!this.description.hardware) {
      return promise;
    }
    let waiting = true;
    const stop = () => {
      waiting = false;
    };
    promise.then(stop, stop);
    const start = performance.now();
    let last = start;
    await turn();
    while (waiting && this.lost === null) {
      const now = performance.now();
      const interval = now - start < SLOW_AFTER_MS ? POKE_INTERVAL_MS : SLOW_POKE_INTERVAL_MS;
      if (now - last >= interval && this.pokes < POKES_OUTSTANDING) {
        this.poke();
        last = now;
      }
      await turn();
    }
    return promise;
  }

  // A tiny submit. The error scope around it ends when the GPU process has taken it, which is long before the GPU is done.
  poke() {
    const taken = () => {
      this.pokes -= 1;
    };
    this.pokes += 1;
    this.device.pushErrorScope("validation");
    this.device.queue.writeBuffer(this.pokeBuffer, 0, this.pokeData);
    this.device.queue.submit([]);
    this.device.popErrorScope().then(taken, taken);
  }

  // Where one model's buffers come from.
  memory() {
    return new Memory(this);
  }

  close() {
    this.device.destroy();
  }
}

// Buffers of one model on a device that others share, and what became of its requests for them.
export class Memory {
  constructor(gpu) {
    this.gpu = gpu;
    this.requests = [];
  }

  // Does `work` on the device; its errors are thrown by checkAllocations as those of `what`.
  request(what, work) {
    const failed = errorOf(this.gpu.device, work);
    this.requests.push(failed.then((error) => error && fail(codeOf(error), `${what}: ${error.message}`)));
  }

  createBuffer(label, size, usage, mappedAtCreation) {
    const what = `${size} bytes for ${label}`;
    let buffer;
    this.request(what, () => {
      try {
        buffer = this.gpu.device.createBuffer({ label, size, usage, mappedAtCreation });
      } catch (error) {
        throw fail("out_of_memory", `${what}: ${error.message}`);
      }
    });
    return buffer;
  }

  // A buffer of weights, mapped so that bytes go straight into it.
  weightBuffer(label, size) {
    return this.createBuffer(label, size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, true);
  }

  // Rejects with the first of its requests that failed since the last call.
  async checkAllocations() {
    const pending = this.requests;
    this.requests = [];
    const failure = (await Promise.all(pending)).find(Boolean);
    this.gpu.checkLost();
    if (failure) {
      throw failure;
    }
  }

  // `plan` is JSON of backend::webgpu::spec; `weights` and `pipelines` are arrays in its order.
  record(plan, uniforms, weights, pipelines) {
    return new Recorded(this, JSON.parse(plan), uniforms, weights, pipelines);
  }
}

export function mappedRange(buffer, offset, size) {
  return new Uint8Array(buffer.getMappedRange(offset, size));
}

export function unmap(buffer) {
  buffer.unmap();
}

export function destroy(buffer) {
  buffer.destroy();
}

// An inference for one shape: everything is made here once, and replayed by `run`.
export class Recorded {
  constructor(memory, plan, uniformBytes, weights, pipelines) {
    this.gpu = memory.gpu;
    this.memory = memory;
    this.own = [];
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const uniforms = this.buffer("uniforms", uniformBytes.length, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    const buffers = plan.buffers.map((b) => {
      return b.weights === null ? this.buffer(b.label, b.bytes, storage) : weights[b.weights];
    });
    memory.request("bind groups", () => {
      this.gpu.device.queue.writeBuffer(uniforms, 0, uniformBytes);
      this.dispatches = plan.dispatches.map((dispatch) => this.bind(dispatch, pipelines, buffers, uniforms));
    });
    this.inputs = plan.inputs.map((ix) => buffers[ix]);
    this.outputs = plan.outputs.map(([ix, bytes]) => ({ buffer: buffers[ix], bytes }));
    this.outputBytes = this.outputs.reduce((sum, o) => sum + o.bytes, 0);
    this.readback = this.buffer("readback", this.outputBytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  // A buffer that goes with this recording.
  buffer(label, size, usage) {
    const made = this.memory.createBuffer(label, size, usage, false);
    this.own.push(made);
    return made;
  }

  bind({ operator, pipeline, bindings, workgroups }, pipelines, buffers, uniforms) {
    const entries = bindings.map(([binding, buffer, offset, size]) => ({
      binding,
      resource: { buffer: buffer === null ? uniforms : buffers[buffer], offset, size },
    }));
    const layout = pipelines[pipeline].getBindGroupLayout(0);
    const bindGroup = this.gpu.device.createBindGroup({ label: operator, layout, entries });
    return { pipeline: pipelines[pipeline], groups: workgroups, bindGroup };
  }

  encodeDispatches(encoder) {
    const pass = encoder.beginComputePass();
    let current = null;
    for (const { pipeline, bindGroup, groups } of this.dispatches) {
      if (pipeline !== current) {
        pass.setPipeline(pipeline);
        current = pipeline;
      }
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    }
    pass.end();
  }

  // One pass a dispatch, each with a timestamp at both ends.
  encodeTimed(encoder) {
    const { device } = this.gpu;
    if (!this.querySet) {
      const count = this.dispatches.length * 2;
      this.querySet = device.createQuerySet({ type: "timestamp", count });
      this.own.push(this.querySet);
      const [resolve, read] = [GPUBufferUsage.QUERY_RESOLVE, GPUBufferUsage.MAP_READ];
      this.queryResolve = this.buffer("timestamps", count * 8, resolve | GPUBufferUsage.COPY_SRC);
      this.queryReadback = this.buffer("timestamps.readback", count * 8, read | GPUBufferUsage.COPY_DST);
    }
    this.dispatches.forEach(({ pipeline, bindGroup, groups }, ix) => {
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet: this.querySet, beginningOfPassWriteIndex: 2 * ix, endOfPassWriteIndex: 2 * ix + 1 },
      });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
      pass.end();
    });
    encoder.resolveQuerySet(this.querySet, 0, this.dispatches.length * 2, this.queryResolve, 0);
    encoder.copyBufferToBuffer(this.queryResolve, 0, this.queryReadback, 0, this.dispatches.length * 16);
  }

  // Writes the inputs and submits all dispatches and the copies of the outputs. Promises that these can be read.
  submit(inputs, timed) {
    const { device } = this.gpu;
    inputs.forEach((bytes, ix) => device.queue.writeBuffer(this.inputs[ix], 0, bytes));
    const encoder = device.createCommandEncoder();
    if (timed) {
      this.encodeTimed(encoder);
    } else {
      this.encodeDispatches(encoder);
    }
    let at = 0;
    for (const { buffer, bytes } of this.outputs) {
      encoder.copyBufferToBuffer(buffer, 0, this.readback, at, bytes);
      at += bytes;
    }
    device.queue.submit([encoder.finish()]);
    const readable = timed ? [this.readback, this.queryReadback] : [this.readback];
    return Promise.all(readable.map((buffer) => buffer.mapAsync(GPUMapMode.READ)));
  }

  // Runs all dispatches in one submit, and reads the outputs back, one after the other.
  // With `timed`, `times` holds begin and end of each dispatch in ns.
  async run(inputs, timed) {
    const { gpu } = this;
    gpu.checkLost();
    let mapped;
    const failed = errorOf(gpu.device, () => {
      mapped = this.submit(inputs, timed);
    });
    const unreadable = await gpu.settle(mapped).then(() => null, (error) => error);
    const error = await failed;
    gpu.checkLost();
    if (error) {
      throw fail(codeOf(error), error.message);
    }
    if (unreadable) {
      throw fail("internal", `reading the outputs failed: ${unreadable.message}`);
    }
    const outputs = new Uint8Array(this.readback.getMappedRange().slice(0));
    this.readback.unmap();
    let times = null;
    if (timed) {
      times = Float64Array.from(new BigUint64Array(this.queryReadback.getMappedRange()), Number);
      this.queryReadback.unmap();
    }
    return { outputs, times };
  }

  destroy() {
    for (const thing of this.own) {
      thing.destroy();
    }
    this.own = [];
  }
}

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
    this.failure = null;
    this.allocations = [];
    device.lost.then((info) => {
      this.lost = `${info.reason || "unknown"}: ${info.message}`;
    });
    device.addEventListener("uncapturederror", (event) => {
      this.failure ??= event.error;
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

  createBuffer(label, size, usage, mappedAtCreation) {
    this.device.pushErrorScope("out-of-memory");
    this.device.pushErrorScope("validation");
    let buffer;
    let thrown = null;
    try {
      buffer = this.device.createBuffer({ label, size, usage, mappedAtCreation });
    } catch (error) {
      thrown = error;
    }
    const scopes = [this.device.popErrorScope(), this.device.popErrorScope()];
    const settled = Promise.all(scopes).then(([validation, memory]) => {
      if (memory || thrown) {
        throw fail("out_of_memory", `${size} bytes for ${label}: ${(memory ?? thrown).message}`);
      }
      if (validation) {
        throw fail("validation", `${size} bytes for ${label}: ${validation.message}`);
      }
    });
    // A rejection is collected by checkAllocations, possibly after other awaits.
    settled.catch(() => {});
    this.allocations.push(settled);
    if (thrown) {
      throw fail("out_of_memory", `${size} bytes for ${label}: ${thrown.message}`);
    }
    return buffer;
  }

  // A buffer of weights, mapped so that bytes go straight into it.
  weightBuffer(label, size) {
    return this.createBuffer(label, size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC, true);
  }

  // Rejects with the first allocation that failed since the last call.
  async checkAllocations() {
    const pending = this.allocations;
    this.allocations = [];
    try {
      await Promise.all(pending);
    } catch (error) {
      this.check();
      throw error;
    }
    this.check();
  }

  check() {
    if (this.lost !== null) {
      throw fail("device_lost", `the GPU device was lost (${this.lost})`);
    }
    if (this.failure !== null) {
      const failure = this.failure;
      this.failure = null;
      const code = failure.constructor.name === "GPUOutOfMemoryError" ? "out_of_memory" : "validation";
      throw fail(code, failure.message);
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
      this.check();
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

  // `plan` is JSON of backend::webgpu::spec; `weights` and `pipelines` are arrays in its order.
  record(plan, uniforms, weights, pipelines) {
    return new Recorded(this, JSON.parse(plan), uniforms, weights, pipelines);
  }

  close() {
    this.device.destroy();
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
  constructor(gpu, plan, uniformBytes, weights, pipelines) {
    this.gpu = gpu;
    const { device } = gpu;
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    this.own = [];
    const own = (label, size, usage) => {
      const buffer = gpu.createBuffer(label, size, usage, false);
      this.own.push(buffer);
      return buffer;
    };
    const buffers = plan.buffers.map((b) => (b.weights === null ? own(b.label, b.bytes, storage) : weights[b.weights]));
    const uniforms = own("uniforms", uniformBytes.length, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(uniforms, 0, uniformBytes);
    this.dispatches = plan.dispatches.map((d) => ({
      pipeline: pipelines[d.pipeline],
      groups: d.workgroups,
      bindGroup: device.createBindGroup({
        label: d.operator,
        layout: pipelines[d.pipeline].getBindGroupLayout(0),
        entries: d.bindings.map(([binding, buffer, offset, size]) => ({
          binding,
          resource: { buffer: buffer === null ? uniforms : buffers[buffer], offset, size },
        })),
      }),
    }));
    this.inputs = plan.inputs.map((ix) => buffers[ix]);
    this.outputs = plan.outputs.map(([ix, bytes]) => ({ buffer: buffers[ix], bytes }));
    this.outputBytes = this.outputs.reduce((sum, o) => sum + o.bytes, 0);
    this.readback = own("readback", this.outputBytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
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
      const buffer = (label, usage) => {
        const made = this.gpu.createBuffer(label, count * 8, usage, false);
        this.own.push(made);
        return made;
      };
      this.queryResolve = buffer("timestamps", GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
      this.queryReadback = buffer("timestamps.readback", GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
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

  // Writes the inputs, runs all dispatches in one submit, and reads the outputs back, one after the other.
  // With `timed`, `times` holds begin and end of each dispatch in ns.
  async run(inputs, timed) {
    const { gpu } = this;
    gpu.check();
    const { queue } = gpu.device;
    inputs.forEach((bytes, ix) => queue.writeBuffer(this.inputs[ix], 0, bytes));
    const encoder = gpu.device.createCommandEncoder();
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
    queue.submit([encoder.finish()]);
    try {
      const maps = [this.readback.mapAsync(GPUMapMode.READ)];
      if (timed) {
        maps.push(this.queryReadback.mapAsync(GPUMapMode.READ));
      }
      await gpu.settle(Promise.all(maps));
    } catch (error) {
      gpu.check();
      throw fail("internal", `reading the outputs failed: ${error.message}`);
    }
    const outputs = new Uint8Array(this.readback.getMappedRange().slice(0));
    this.readback.unmap();
    let times = null;
    if (timed) {
      times = Float64Array.from(new BigUint64Array(this.queryReadback.getMappedRange()), Number);
      this.queryReadback.unmap();
    }
    gpu.check();
    return { outputs, times };
  }

  destroy() {
    for (const thing of this.own) {
      thing.destroy();
    }
    this.own = [];
  }
}

// The WebNN calls that the backend makes (https://www.w3.org/TR/webnn/), kept in JavaScript so that an inference crosses
// from wasm once.
//
// Everything is decided in Rust (crates/kernels/src/webnn): which constants and operators, in what order.
// Failures are thrown as Error with a `code` of the wire's ErrorCode.

// What a typed array's elements must be, by MLOperandDataType. Pairs of int4 are bytes.
const ARRAYS = {
  float32: Float32Array,
  float16: globalThis.Float16Array ?? Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  int4: Uint8Array,
};

// How each operation of kernels::webnn::Operation is called; `x` gives the operand of a number.
const CALLS = {
  concat: (b, o, x) => b.concat(o.inputs.map(x), o.axis),
  add: (b, o, x) => b.add(x(o.a), x(o.b)),
  sub: (b, o, x) => b.sub(x(o.a), x(o.b)),
  mul: (b, o, x) => b.mul(x(o.a), x(o.b)),
  div: (b, o, x) => b.div(x(o.a), x(o.b)),
  matmul: (b, o, x) => b.matmul(x(o.a), x(o.b)),
  gemm: (b, o, x) => b.gemm(x(o.a), x(o.b), { bTranspose: o.bTranspose, ...(o.c === null ? {} : { c: x(o.c) }) }),
  gather: (b, o, x) => b.gather(x(o.input), x(o.indices), { axis: 0 }),
  cast: (b, o, x) => b.cast(x(o.input), o.to),
  clamp: (b, o, x) => b.clamp(x(o.input), bounds(o)),
  gelu: (b, o, x) => b.gelu(x(o.input)),
  relu: (b, o, x) => b.relu(x(o.input)),
  sigmoid: (b, o, x) => b.sigmoid(x(o.input)),
  tanh: (b, o, x) => b.tanh(x(o.input)),
  softmax: (b, o, x) => b.softmax(x(o.input), o.axis),
  layerNormalization: (b, o, x) =>
    b.layerNormalization(x(o.input), { scale: x(o.scale), bias: x(o.bias), axes: o.axes, epsilon: o.epsilon }),
  reduceMax: (b, o, x) => b.reduceMax(x(o.input), { axes: o.axes, keepDimensions: true }),
  reduceMean: (b, o, x) => b.reduceMean(x(o.input), { axes: o.axes, keepDimensions: true }),
  reduceSum: (b, o, x) => b.reduceSum(x(o.input), { axes: o.axes, keepDimensions: true }),
  reduceL2: (b, o, x) => b.reduceL2(x(o.input), { axes: o.axes, keepDimensions: true }),
  reshape: (b, o, x) => b.reshape(x(o.input), o.shape),
  slice: (b, o, x) => b.slice(x(o.input), o.starts, o.sizes),
  transpose: (b, o, x) => b.transpose(x(o.input), { permutation: o.permutation }),
  quantizeLinear: (b, o, x) => b.quantizeLinear(x(o.input), x(o.scale), x(o.zeroPoint)),
  dequantizeLinear: (b, o, x) => b.dequantizeLinear(x(o.input), x(o.scale), x(o.zeroPoint)),
};

// Absent bounds are absent keys: null would be taken for 0.
function bounds({ min, max }) {
  return { ...(min === null ? {} : { minValue: min }), ...(max === null ? {} : { maxValue: max }) };
}

function fail(code, message) {
  return Object.assign(new Error(message), { code });
}

function told(error) {
  return error?.name && error.name !== "Error" ? `${error.name}: ${error.message}` : String(error?.message ?? error);
}

// A context on `device` ("cpu", "gpu", "npu"), or on what the browser chooses.
export async function openContext(device) {
  if (!navigator.ml) {
    throw fail("webnn_unavailable", "this browser has no navigator.ml");
  }
  try {
    return new Context(await navigator.ml.createContext(device ? { deviceType: device } : {}));
  } catch (error) {
    throw fail("webnn_unavailable", `createContext() failed for ${device ?? "any device"}: ${told(error)}`);
  }
}

// The page's own storage, by what a text is kept for. Pages without it (other than secure ones) remember nothing.
const STORAGE = "webnibble-webnn";
const place = (key) => new URL(`webnibble-webnn/${key}`, location.origin).href;

// What was kept for `key`, or undefined.
export async function recall(key) {
  const found = await (await caches.open(STORAGE)).match(place(key));
  return found?.text();
}

export async function remember(key, text) {
  await (await caches.open(STORAGE)).put(place(key), new Response(text));
}

export class Context {
  constructor(context) {
    this.context = context;
    this.lost = null;
    // Rejects when the context is lost: what waits for the browser races against it.
    this.loss = new Promise((_, reject) => {
      context.lost?.then((info) => {
        this.lost = info?.message || "no reason given";
        reject(this.lostError());
      });
    });
    this.loss.catch(() => {});
  }

  lostError() {
    return fail("device_lost", `the WebNN context was lost (${this.lost})`);
  }

  lostReason() {
    return this.lost ?? undefined;
  }

  // opSupportLimits(), as JSON.
  limits() {
    return JSON.stringify(this.context.opSupportLimits());
  }

  check() {
    if (this.lost !== null) {
      throw this.lostError();
    }
  }

  // An error of the browser in the wire's words.
  failure(error, what) {
    if (error?.code !== undefined && typeof error.code === "string") {
      return error;
    }
    // Calls fail before the promise of the loss is heard; nothing else makes a tensor in use invalid.
    if (error?.name === "InvalidStateError") {
      this.lost ??= error.message;
    }
    if (this.lost !== null) {
      return this.lostError();
    }
    const message = `${what}: ${told(error)}`;
    const memory = error instanceof RangeError || /memory|allocat|too large/i.test(message);
    return fail(memory ? "out_of_memory" : "validation", message);
  }

  builder() {
    this.check();
    try {
      return new Builder(this);
    } catch (error) {
      throw this.failure(error, "WebNN has no graph builder");
    }
  }

  // What makes an inference of graphs that are built.
  async executable(steps, written, read) {
    const executable = new Executable(this, steps, written, read);
    try {
      await Promise.race([executable.createTensors(), this.loss]);
    } catch (error) {
      executable.destroy();
      throw this.failure(error, "making the tensors failed");
    }
    return executable;
  }

  close() {
    this.context.destroy?.();
  }
}

export class Builder {
  constructor(context) {
    this.context = context;
    this.builder = new MLGraphBuilder(context.context);
    this.operands = [];
  }

  // `bytes` is a view of wasm's memory; the browser copies it before this returns.
  constant(operand, dataType, shape, bytes) {
    const Elements = ARRAYS[dataType];
    const data = new Elements(bytes.buffer, bytes.byteOffset, bytes.byteLength / Elements.BYTES_PER_ELEMENT);
    try {
      this.operands[operand] = this.builder.constant({ dataType, shape: Array.from(shape) }, data);
    } catch (error) {
      throw this.context.failure(error, `constant ${dataType} [${shape}]`);
    }
  }

  // `program` is JSON of kernels::webnn::Program.
  async build(program) {
    const { inputs, calls, outputs } = JSON.parse(program);
    const { builder, operands, context } = this;
    const operand = (number) => operands[number];
    for (const { name, operand: number, dataType, shape } of inputs) {
      operands[number] = builder.input(name, { dataType, shape });
    }
    for (const call of calls) {
      try {
        operands[call.output] = CALLS[call.op](builder, call, operand);
      } catch (error) {
        throw context.failure(error, `WebNN refused \`${call.op}\``);
      }
    }
    const named = Object.fromEntries(outputs.map(({ name, operand: number }) => [name, operands[number]]));
    try {
      const graph = await Promise.race([builder.build(named), context.loss]);
      return new Step(graph, inputs, outputs);
    } catch (error) {
      throw context.failure(error, "building the WebNN graph failed");
    }
  }
}

// A graph and the tensors that it reads and writes, by their names.
export class Step {
  constructor(graph, inputs, outputs) {
    this.graph = graph;
    this.ports = { inputs, outputs };
    this.inputs = {};
    this.outputs = {};
  }

  // Where the browser says that the graph runs; undefined where it says nothing.
  devices() {
    return this.graph.devices === undefined ? undefined : Array.from(this.graph.devices);
  }

  destroy() {
    this.graph.destroy?.();
  }
}

// Graphs that run one after the other, or side by side as far as what they read allows, and their tensors: made once and
// used for every inference. `written` and `read` are the names of the tensors that the caller writes and reads.
export class Executable {
  constructor(context, steps, written, read) {
    this.context = context;
    this.steps = steps;
    this.written = written;
    this.read = read;
    this.inputs = [];
    this.outputs = [];
    this.tensors = new Map();
  }

  async createTensors() {
    const { context } = this.context;
    const tensor = async ({ name, dataType, shape }) => {
      if (!this.tensors.has(name)) {
        const [writable, readable] = [this.written.includes(name), this.read.includes(name)];
        this.tensors.set(name, await context.createTensor({ dataType, shape, writable, readable }));
      }
      return this.tensors.get(name);
    };
    const ports = new Map();
    for (const step of this.steps) {
      for (const side of ["inputs", "outputs"]) {
        for (const port of step.ports[side]) {
          ports.set(port.name, port);
          step[side][port.name] = await tensor(port);
        }
      }
    }
    this.inputs = this.written.map((name) => this.tensors.get(name));
    this.outputs = this.read.map((name) => {
      const { dataType, shape } = ports.get(name);
      const data = new ARRAYS[dataType](shape.reduce((product, extent) => product * extent, 1));
      return { tensor: this.tensors.get(name), data };
    });
  }

  // `data` is a view of wasm's memory; the browser copies it before this returns.
  write(ix, data) {
    this.context.check();
    try {
      this.context.context.writeTensor(this.inputs[ix], data);
    } catch (error) {
      throw this.context.failure(error, "writing an input failed");
    }
  }

  // Runs the graphs on what was written, and reads the outputs.
  async run() {
    this.context.check();
    const { context } = this.context;
    try {
      for (const { graph, inputs, outputs } of this.steps) {
        context.dispatch(graph, inputs, outputs);
      }
      const reads = this.outputs.map(({ tensor, data }) => context.readTensor(tensor, data));
      await Promise.race([Promise.all(reads), this.context.loss]);
    } catch (error) {
      throw this.context.failure(error, "running the WebNN graph failed");
    }
  }

  // The output of the last run, overwritten by the next.
  output(ix) {
    return this.outputs[ix].data;
  }

  destroy() {
    for (const thing of [...this.tensors.values(), ...this.steps]) {
      thing.destroy?.();
    }
    this.steps = [];
    this.tensors.clear();
    this.inputs = [];
    this.outputs = [];
  }
}

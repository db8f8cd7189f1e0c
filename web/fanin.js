// The package's interface to fanin in WebAssembly. The module checks requests, resolves plans, fills on the CPU, and
// describes the dispatches of fills (`fanin::gpu::raw`). This file records these dispatches with the caller's own
// device. fanin.d.ts has the types and documents each function.

import load, * as wasm from './dist/fanin_web.js';

// Elements that the CPU makes at a time. The module's memory stays small this way.
const CPU_STEP = 1 << 18;
// Tables that a device keeps, `REMEMBERED` of src/tables.rs.
const TABLES = 16;
// Bytes of an element.
const SIZES = { f32: 4, f16: 2, bf16: 2 };

let loaded;
let isReady = false;

export function init(source) {
  loaded ??= start(source).catch((error) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function start(source = new URL('./dist/fanin_web_bg.wasm', import.meta.url)) {
  if (source instanceof URL && source.protocol === 'file:') {
    // In Node.js, fetch cannot read files.
    const { readFile } = await import('node:fs/promises');
    source = await readFile(source);
  }
  await load({ module_or_path: source });
  isReady = true;
}

// Returns the module. Throws if it is not loaded.
function core() {
  if (!isReady) throw new Error('fanin is not loaded yet: await init() first');
  return wasm;
}

// Runs `use` with an object of the module, and frees the object.
function using(made, use) {
  try {
    return use(made);
  } finally {
    made.free();
  }
}

export function describe(request) {
  return using(new (core().Fill)(request), (fill) => fill.describe());
}

export function initializers() {
  return core().initializers();
}

export function presets() {
  return core().presets();
}

export function sha256(bytes) {
  const hasher = new Sha256();
  hasher.update(bytes);
  return hasher.hex();
}

export class Sha256 {
  #hasher = new (core().Hasher)();

  update(bytes) {
    for (let start = 0; start < bytes.length; start += 1 << 20) {
      this.#hasher.update(bytes.subarray(start, start + (1 << 20)));
    }
    return this;
  }

  hex() {
    return this.#hasher.hex();
  }
}

export function fillCpu(request, { start = 0, length } = {}) {
  return using(new (core().Fill)(request), (fill) => {
    const { name, elements, dtype } = fill.describe();
    length ??= Math.max(0, elements - start);
    if (!(start >= 0 && length >= 0 && start + length <= elements)) {
      throw new Error(
        `tensor ${JSON.stringify(name)}: elements ${start} to ${start + length} are out of range: the fill has ${elements}`,
      );
    }
    const size = SIZES[dtype];
    const out = new Uint8Array(length * size);
    for (let at = 0; at < length; at += CPU_STEP) {
      fill.make(start + at, out.subarray(at * size, (at + CPU_STEP) * size));
    }
    return out;
  });
}

export class Histogram {
  #fill;

  constructor(request, bins = 64) {
    this.counts = new Uint32Array(bins);
    this.#fill = new (core().Fill)(request);
    [this.low, this.high] = this.#fill.bounds();
    this.expected = this.#fill.expected(this.low, this.high, bins);
  }

  add(bytes) {
    this.#fill.count(bytes, this.low, this.high, this.counts);
    return this;
  }
}

class Plan {
  #plan;

  // Returns the module's fill of a tensor. The caller frees it.
  static fill(plan, index) {
    return plan.#plan.fill(index);
  }

  constructor(recipe, tensors, { seed, dtype, alignment = 256 } = {}) {
    const isText = typeof recipe === 'object' && recipe !== null;
    const list = typeof tensors === 'string' ? tensors : JSON.stringify({ tensors });
    if (!Number.isSafeInteger(alignment) || alignment < 4 || alignment % 4 !== 0) {
      throw new Error(`alignment = ${alignment} is out of range: it must be a multiple of 4`);
    }
    const text = String(isText ? recipe.toml : recipe);
    dtype = dtype === undefined ? undefined : String(dtype);
    this.#plan = new (core().Plan)(text, isText, list, seed, dtype);
    this.seed = this.#plan.seed();
    let end = 0;
    this.tensors = this.#plan.tensors().map((tensor) => {
      const offset = Math.ceil(end / alignment) * alignment;
      end = offset + tensor.bytes;
      return Object.freeze({ ...tensor, offset });
    });
    this.elements = this.tensors.reduce((sum, { elements }) => sum + elements, 0);
    this.bytes = Math.max(4, Math.ceil(end / 4) * 4);
  }
}

export function plan(recipe, tensors, options) {
  return new Plan(recipe, tensors, options);
}

// The pipelines, tables and other objects that are kept between the fills of a device.
class Device {
  static #known = new WeakMap();

  static of(device) {
    if (!Device.#known.has(device)) Device.#known.set(device, new Device(device));
    return Device.#known.get(device);
  }

  // True if the probe has found that the device's floats are exact.
  exactFloats = false;
  #probed;
  #device;
  #bindings;
  #layout;
  #modules = new Map();
  #pipelines = new Map();
  #tables = new Map();

  constructor(device) {
    this.#device = device;
    const visibility = 4; // GPUShaderStage.COMPUTE
    this.#bindings = device.createBindGroupLayout({
      label: 'fanin',
      entries: [
        { binding: 0, visibility, buffer: { type: 'uniform' } },
        { binding: 1, visibility, buffer: { type: 'storage' } },
        { binding: 2, visibility, buffer: { type: 'read-only-storage' } },
      ],
    });
    this.#layout = device.createPipelineLayout({ label: 'fanin', bindGroupLayouts: [this.#bindings] });
  }

  // Runs the probe once. After a failure, the next call runs it again.
  probe() {
    this.#probed ??= this.#runProbe().catch((error) => {
      this.#probed = undefined;
      throw error;
    });
    return this.#probed;
  }

  async #runProbe() {
    const { shader, trials, workgroups, answerBytes } = core().probe();
    const device = this.#device;
    const module = device.createShaderModule({ label: 'fanin probe', code: shader });
    const compute = { module, entryPoint: 'probe' };
    const pipeline = await device.createComputePipelineAsync({ label: 'fanin probe', layout: 'auto', compute });
    const contents = this.#upload(trials, 0x80); // GPUBufferUsage.STORAGE
    // 0x84 is GPUBufferUsage.STORAGE | COPY_SRC, 0x9 is COPY_DST | MAP_READ.
    const answers = device.createBuffer({ label: 'fanin probe', size: answerBytes, usage: 0x84 });
    const staging = device.createBuffer({ label: 'fanin probe', size: answerBytes, usage: 0x9 });
    const entries = [contents, answers].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass({ label: 'fanin probe' });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(workgroups);
    pass.end();
    encoder.copyBufferToBuffer(answers, 0, staging, 0, answerBytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1); // GPUMapMode.READ
    this.exactFloats = core().is_exact(new Uint8Array(staging.getMappedRange()));
    for (const buffer of [contents, answers, staging]) buffer.destroy();
    return this.exactFloats;
  }

  #module(many) {
    if (!this.#modules.has(many)) {
      this.#modules.set(many, this.#device.createShaderModule({ label: 'fanin', code: core().shader(many) }));
    }
    return this.#modules.get(many);
  }

  #pipeline({ many, entryPoint, constants }) {
    const variant = JSON.stringify([many, entryPoint, constants]);
    if (!this.#pipelines.has(variant)) {
      const compute = { module: this.#module(many), entryPoint, constants };
      const pipeline = this.#device.createComputePipeline({ label: 'fanin', layout: this.#layout, compute });
      this.#pipelines.set(variant, pipeline);
    }
    return this.#pipelines.get(variant);
  }

  #upload(contents, usage) {
    const buffer = this.#device.createBuffer({
      label: 'fanin',
      size: contents.length,
      usage,
      mappedAtCreation: true,
    });
    new Uint8Array(buffer.getMappedRange()).set(contents);
    buffer.unmap();
    return buffer;
  }

  #table(number) {
    let table = this.#tables.get(number);
    if (!table) {
      table = this.#upload(core().table(number), 0x80); // GPUBufferUsage.STORAGE
      if (this.#tables.size >= TABLES) this.#tables.clear();
      this.#tables.set(number, table);
    }
    return table;
  }

  // Uploads all requests in one buffer, each at an offset that a binding may have.
  #requests(dispatches) {
    const alignment = this.#device.limits.minUniformBufferOffsetAlignment;
    const starts = [];
    let size = 0;
    for (const { request } of dispatches) {
      starts.push(size);
      size += Math.ceil(request.length / alignment) * alignment;
    }
    const contents = new Uint8Array(size);
    dispatches.forEach(({ request }, i) => contents.set(request, starts[i]));
    return { buffer: this.#upload(contents, 0x40), starts }; // GPUBufferUsage.UNIFORM
  }

  // Prepares all that is recorded for dispatches. It is done before the first command is recorded, so that a failure
  // records nothing.
  steps(dispatches, buffers) {
    if (dispatches.length === 0) return [];
    const requests = this.#requests(dispatches);
    return dispatches.map((dispatch, i) => {
      const { bindingOffset: offset, bindingSize: size, request, grid } = dispatch;
      const bindGroup = this.#device.createBindGroup({
        label: 'fanin',
        layout: this.#bindings,
        entries: [
          { binding: 0, resource: { buffer: requests.buffer, offset: requests.starts[i], size: request.length } },
          { binding: 1, resource: { buffer: buffers[dispatch.buffer], offset, size } },
          { binding: 2, resource: { buffer: this.#table(dispatch.table) } },
        ],
      });
      return { pipeline: this.#pipeline(dispatch), bindGroup, grid };
    });
  }
}

// Records a fill for each place. `fillOf` returns the module's fill of a place by its number.
function record(device, encoder, places, fillOf) {
  const { limits } = device;
  const workgroup = Math.min(limits.maxComputeWorkgroupSizeX, limits.maxComputeInvocationsPerWorkgroup);
  const made = new (core().Targets)(
    limits.maxStorageBufferBindingSize,
    limits.minStorageBufferOffsetAlignment,
    workgroup,
    Device.of(device).exactFloats,
  );
  using(made, (targets) => {
    const buffers = [];
    const numbers = new Map();
    places.forEach(({ buffer, offset = 0 }, i) => {
      using(fillOf(i), (fill) => {
        // GPUBufferUsage.STORAGE
        if (!(buffer.usage & 0x80)) {
          const { name } = fill.describe();
          throw new Error(
            `tensor ${JSON.stringify(name)}: the buffer lacks usage STORAGE: create it with GPUBufferUsage.STORAGE`,
          );
        }
        if (!numbers.has(buffer)) numbers.set(buffer, buffers.push(buffer) - 1);
        targets.add(fill, numbers.get(buffer), buffer.size, offset);
      });
    });
    const steps = Device.of(device).steps(targets.dispatches(), buffers);
    const isPass = 'dispatchWorkgroups' in encoder;
    const pass = isPass ? encoder : encoder.beginComputePass({ label: 'fanin' });
    for (const { pipeline, bindGroup, grid } of steps) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(grid[0], grid[1]);
    }
    if (!isPass) pass.end();
  });
}

export async function prepare(device) {
  return Device.of(device).probe();
}

export function fill(device, encoder, buffer, request, offset = 0) {
  fillAll(device, encoder, [{ buffer, offset, request }]);
}

export function fillAll(device, encoder, targets) {
  record(device, encoder, targets, (i) => new (core().Fill)(targets[i].request));
}

export function initModel(device, encoder, plan, destination) {
  if (!destination) throw new Error('initModel: destination is missing: give a buffer, or a function that returns a place');
  const targets = plan.tensors.map((tensor, index) => {
    if (typeof destination === 'function') return { index, ...destination(tensor) };
    if (!SIZES[tensor.dtype]) {
      throw new Error(`tensor "${tensor.name}": dtype ${tensor.dtype} is not made here: use f32, f16 or bf16`);
    }
    // The offsets of a plan are in bytes, those of a target are in elements.
    return { index, buffer: destination, offset: tensor.offset / SIZES[tensor.dtype] };
  });
  const wanted = targets.filter(({ buffer }) => buffer);
  record(device, encoder, wanted, (i) => Plan.fill(plan, wanted[i].index));
}

// Tests the installed package on a device of Dawn, the WebGPU implementation of Chrome. Every hash is compared with the
// command line's. FOLDER is the folder where the package is installed.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { create, globals } from 'webgpu';
import { commandLine, program, requests, sha256, smallGpt2 } from './requests.mjs';

Object.assign(globalThis, globals);
const { FOLDER } = process.env;
const fanin = await import(pathToFileURL(join(resolve(FOLDER), 'node_modules/fanin-webgpu/fanin.js')));

assert.throws(() => fanin.presets(), /await init\(\) first/);
await fanin.init();

// A global variable, because Dawn shuts down when this object is collected.
globalThis.gpu = create([]);
const adapter = await globalThis.gpu.requestAdapter();
assert(adapter, 'Dawn finds no adapter');
const device = await adapter.requestDevice();
const faults = [];
device.addEventListener('uncapturederror', ({ error }) => faults.push(error.message));
console.log(`# Dawn on ${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.description}`);

function newBuffer(bytes, contents = 0) {
  const size = Math.max(4, Math.ceil(bytes / 4) * 4);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).fill(contents);
  buffer.unmap();
  return buffer;
}

async function contents(buffer) {
  const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const bytes = new Uint8Array(staging.getMappedRange().slice(0));
  staging.destroy();
  buffer.destroy();
  assert.deepEqual(faults, []);
  return bytes;
}

function submit(record) {
  const encoder = device.createCommandEncoder();
  record(encoder);
  device.queue.submit([encoder.finish()]);
}

async function filled(request) {
  const { bytes } = fanin.describe(request);
  const buffer = newBuffer(bytes);
  submit((encoder) => fanin.fill(device, encoder, buffer, request));
  return (await contents(buffer)).subarray(0, bytes);
}

const shown = ({ init, shape, dtype, slice }) => `${init} of [${shape}] in ${dtype}${slice ? `, ${slice}` : ''}`;

// This test must be the first, since the others run on a prepared device.
test('a device gives the same bytes before it is prepared and after', async () => {
  // The values of INTEGERS in the pipelines of drawn values.
  const integers = new Set();
  const { createComputePipeline } = device;
  device.createComputePipeline = (descriptor) => {
    const { CORE, INTEGERS } = descriptor.compute.constants;
    if ([1, 2, 3].includes(CORE)) integers.add(INTEGERS);
    return createComputePipeline.call(device, descriptor);
  };
  const before = [];
  for (const request of requests) before.push(await filled(request));
  assert.deepEqual([...integers], [1]);
  integers.clear();
  assert.deepEqual(await Promise.all([fanin.prepare(device), fanin.prepare(device)]), [true, true]);
  for (const [i, request] of requests.entries()) assert.deepEqual(await filled(request), before[i], shown(request));
  assert.deepEqual([...integers], [0]);
  delete device.createComputePipeline;
});

test('prepare rejects with an Error on a lost device', async () => {
  const lost = await (await globalThis.gpu.requestAdapter()).requestDevice();
  lost.destroy();
  await assert.rejects(fanin.prepare(lost), Error);
});

test('fills have the hash of the command line, on the GPU and on the CPU', async () => {
  for (const request of requests) {
    const expected = sha256(commandLine(request));
    assert.equal(fanin.sha256(await filled(request)), expected, `GPU: ${shown(request)}`);
    assert.equal(fanin.sha256(fanin.fillCpu(request)), expected, `CPU: ${shown(request)}`);
  }
});

test('a fill larger than a binding has the hash of the command line', async () => {
  const request = { name: 'wte', shape: [9001, 4001], init: 'kaiming_normal', seed: 7 };
  const { bytes } = fanin.describe(request);
  assert(bytes > device.limits.maxStorageBufferBindingSize);
  assert.equal(sha256(await filled(request)), sha256(commandLine(request)));
});

test('nothing outside of a fill changes, at any offset', async () => {
  for (const dtype of ['f32', 'f16', 'bf16']) {
    const request = { name: 'w', shape: [33, 31], init: 'normal(mean=0,std=1)', seed: 3, dtype };
    const expected = fanin.fillCpu(request);
    const size = dtype === 'f32' ? 4 : 2;
    for (const offset of [1, 2, 3, 7, 64, 129]) {
      const buffer = newBuffer(expected.length + 400 * size, 0xab);
      submit((encoder) => {
        // In the caller's own pass.
        const pass = encoder.beginComputePass();
        fanin.fill(device, pass, buffer, request, offset);
        pass.end();
      });
      const bytes = await contents(buffer);
      const [start, end] = [offset * size, offset * size + expected.length];
      assert.deepEqual(bytes.subarray(start, end), expected, `${dtype} at ${offset}`);
      assert(bytes.subarray(0, start).every((byte) => byte === 0xab), `before ${offset}`);
      assert(bytes.subarray(end).every((byte) => byte === 0xab), `after ${offset}`);
    }
  }
});

test('many tensors lie side by side in one buffer, and in several', async () => {
  // Tensors of an odd number of 16-bit elements share a 32-bit word with their neighbours.
  const all = Array.from({ length: 150 }, (_, i) => ({
    name: `t${i}`,
    shape: [1 + (i * 7) % 41, 3],
    init: ['normal(mean=0,std=1)', 'uniform(low=0,high=1)', 'ones'][i % 3],
    seed: 1,
    dtype: 'bf16',
  }));
  const expected = all.map((request) => fanin.fillCpu(request));
  const ends = [0, 0];
  const targets = all.map((request, i) => {
    const which = i % 5 === 0 ? 1 : 0;
    const offset = ends[which];
    ends[which] += expected[i].length / 2;
    return { request, which, offset };
  });
  const buffers = ends.map((end) => newBuffer(2 * end));
  submit((encoder) => {
    const placed = targets.map(({ request, which, offset }) => ({ request, offset, buffer: buffers[which] }));
    fanin.fillAll(device, encoder, placed.reverse());
  });
  const seen = [await contents(buffers[0]), await contents(buffers[1])];
  targets.forEach(({ which, offset }, i) => {
    const part = seen[which].subarray(2 * offset, 2 * offset + expected[i].length);
    assert.deepEqual(part, expected[i], all[i].name);
  });
});

test('a model has the weights of the command line', async () => {
  const list = readFileSync(new URL('../../examples/models/gpt2.json', import.meta.url), 'utf8');
  const tensors = smallGpt2(JSON.parse(list));
  const plan = fanin.plan('gpt2', tensors, { seed: 42 });
  const buffer = newBuffer(plan.bytes);
  submit((encoder) => fanin.initModel(device, encoder, plan, buffer));
  const arena = await contents(buffer);

  const folder = mkdtempSync(join(tmpdir(), 'fanin-'));
  const [source, out] = [join(folder, 'list.json'), join(folder, 'model.safetensors')];
  writeFileSync(source, JSON.stringify({ tensors }));
  program('init', 'gpt2', '--tensors', source, '--seed', '42', '--backend', 'cpu', '--out', out);
  const file = readFileSync(out);
  rmSync(folder, { recursive: true });
  const headerEnd = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, headerEnd));
  assert.equal(plan.tensors.length, 28);
  for (const { name, offset, bytes } of plan.tensors) {
    assert.equal(offset % 256, 0);
    const [start, end] = header[name].data_offsets.map((at) => headerEnd + at);
    assert.deepEqual(Buffer.from(arena.subarray(offset, offset + bytes)), file.subarray(start, end), name);
  }

  // A separate buffer for each tensor of one layer.
  const own = new Map();
  submit((encoder) => {
    fanin.initModel(device, encoder, plan, ({ name, bytes }) => {
      if (!name.includes('.h.1.')) return undefined;
      own.set(name, newBuffer(bytes));
      return { buffer: own.get(name) };
    });
  });
  assert.equal(own.size, 12);
  for (const { name, offset, bytes } of plan.tensors.filter(({ name }) => own.has(name))) {
    assert.deepEqual(await contents(own.get(name)), arena.subarray(offset, offset + bytes), name);
  }
});

test('plans take presets, recipes in text, lists in text', () => {
  const tensors = [{ name: 'fc.weight', shape: [4, 8] }, { name: 'fc.bias', shape: [4] }];
  const toml = 'seed = 7\n[[rule]]\nmatch = "*.bias"\ninit = "zeros"\n[[rule]]\nmatch = "*"\ninit = "xavier_normal"\n';
  const plan = fanin.plan({ toml }, JSON.stringify({ tensors }), { dtype: 'f16', alignment: 4 });
  assert.equal(plan.seed, 7n);
  assert.equal(plan.elements, 36);
  assert.equal(plan.bytes, 72);
  assert.deepEqual(plan.tensors.map(({ init, dtype, offset }) => [init, dtype, offset]), [
    ['xavier_normal', 'f16', 0],
    ['zeros', 'f16', 64],
  ]);
  assert(fanin.presets().includes('gpt2'));
  assert(fanin.initializers().some(({ name }) => name === 'kaiming_normal'));
});

test('invalid requests throw an Error that gives the reason, and change nothing', async () => {
  const good = { name: 'w', shape: [4, 4], init: 'normal(mean=0,std=1)', seed: 1 };
  const cases = [
    [undefined, /a request is undefined: it must be an object/],
    ['w', /a request is "w": it must be an object/],
    [{}, /needs a name or a stream/],
    [{ ...good, sed: 1 }, /unknown key of a request "sed": it can have name, stream, shape/],
    [{ ...good, name: 7 }, /name is 7: it must be text/],
    [{ ...good, shape: 4 }, /shape is 4: it must be an array/],
    [{ ...good, shape: undefined }, /tensor "w": a request needs shape/],
    [{ ...good, shape: [4, -1] }, /shape = -1 is out of range/],
    [{ ...good, shape: [4, 1.5] }, /shape = 1.5 is out of range/],
    [{ ...good, shape: [NaN] }, /shape = NaN is out of range/],
    [{ ...good, shape: ['4'] }, /shape is "4": it must be whole numbers/],
    [{ ...good, shape: [2 ** 53] }, /shape = 9007199254740992 is out of range/],
    [{ ...good, shape: [2 ** 40, 2 ** 40] }, /tensor "w": shape \[1099511627776, 1099511627776\]/],
    [{ ...good, init: 'normall' }, /tensor "w": "normall" is not an initializer/],
    [{ ...good, init: 'normal(std=-1)' }, /std = -1 is out of range/],
    [{ ...good, init: 'normal('.repeat(100000) }, /is not an initializer/],
    [{ ...good, init: null }, /tensor "w": a request needs init/],
    [{ ...good, shape: [], init: 'kaiming_normal' }, /tensor "w": shape \[\]/],
    [{ ...good, seed: -1 }, /seed = -1 is out of range/],
    [{ ...good, seed: -1n }, /seed = -1n is out of range/],
    [{ ...good, seed: 2n ** 64n }, /seed = 18446744073709551616n is out of range/],
    [{ ...good, seed: 2 ** 53 }, /seed = 9007199254740992 is out of range/],
    [{ ...good, seed: '42' }, /seed = "42" is out of range/],
    [{ ...good, seed: Symbol('x') }, /seed = symbol is out of range/],
    [{ ...good, stream: {} }, /stream = object is out of range/],
    [{ ...good, dtype: 'f65' }, /unknown dtype "f65"/],
    [{ ...good, dtype: 'f64' }, /tensor "w": dtype f64 is not made here: use f32, f16 or bf16/],
    [{ ...good, layout: 'nchw' }, /unknown layout "nchw"/],
    [{ ...good, slice: '0:9,:' }, /tensor "w": slice/],
    [{ ...good, slice: [[0, 9], [0, 4]] }, /tensor "w": slice/],
    [{ ...good, slice: [[3, 1], [0, 4]] }, /tensor "w": slice/],
    [{ ...good, slice: [[0]] }, /a range of slice is object: it must be \[start, end\]/],
    [{ get name() { throw new Error('trap'); } }, /name of the request cannot be read/],
  ];
  for (const [request, message] of cases) {
    for (const call of [fanin.describe, fanin.fillCpu, (r) => new fanin.Histogram(r)]) {
      assert.throws(() => call(request), (error) => error instanceof Error && message.test(error.message), String(message));
    }
  }
  const orthogonal = { ...good, init: 'orthogonal' };
  assert.equal(fanin.describe(orthogonal).onGpu, false);
  assert.throws(() => fanin.fillCpu({ ...orthogonal, shape: [2 ** 15, 2 ** 15] }), /does not fit the memory/);
  assert.throws(() => fanin.fillCpu({ ...good, shape: [2 ** 25, 2 ** 25] }), Error);
  assert.throws(() => fanin.fillCpu(good, { start: 10, length: 7 }), /the fill has 16/);
  assert.throws(() => fanin.fillCpu(good, { start: -1 }), /elements -1 to 16 are out of range/);
  assert.throws(() => fanin.fillCpu(good, { start: 0.5, length: 2 }), /start = 0.5 is out of range/);

  const buffer = newBuffer(64, 0xab);
  const uniform = device.createBuffer({ size: 64, usage: GPUBufferUsage.UNIFORM });
  const encoder = device.createCommandEncoder();
  const record = (buffer, request, offset) => () => fanin.fill(device, encoder, buffer, request, offset);
  assert.throws(record(buffer, orthogonal), /one shader cannot make an orthogonal matrix/);
  assert.throws(record(buffer, { ...good, shape: [5, 4] }), /ends at byte 80 of the buffer, which has 64/);
  assert.throws(record(buffer, good, 1), /ends at byte 68 of the buffer, which has 64/);
  assert.throws(record(buffer, good, -1), /offset = -1 is out of range/);
  assert.throws(record(buffer, good, 2 ** 53), /offset = 9007199254740992 is out of range/);
  assert.throws(record(buffer, good, 2 ** 53 - 1), /of the buffer, which has 64/);
  assert.throws(record(uniform, good), /tensor "w": the buffer lacks usage STORAGE/);
  assert.throws(
    () => fanin.fillAll(device, encoder, [{ buffer, request: { ...good, shape: [3] } }, { buffer, offset: 2, request: { ...good, name: 'v', shape: [3] } }]),
    /would both write bytes 8 to 12/,
  );
  device.queue.submit([encoder.finish()]);
  assert((await contents(buffer)).every((byte) => byte === 0xab));

  const tensors = [{ name: 'w', shape: [4] }];
  for (const [make, message] of [
    [() => fanin.plan('gpt3', tensors, { seed: 1 }), /unknown preset "gpt3"/],
    [() => fanin.plan({ toml: '[[rule' }, tensors, { seed: 1 }), /line 1/],
    [() => fanin.plan('torch', [{ name: 'w' }], { seed: 1 }), /shape/],
    [() => fanin.plan('torch', '{', { seed: 1 }), /tensor list/],
    [() => fanin.plan('torch', [...tensors, ...tensors], { seed: 1 }), /listed twice/],
    [() => fanin.plan('xavier', tensors), /no seed/],
    [() => fanin.plan('xavier', tensors, { seed: -1 }), /seed = -1 is out of range/],
    [() => fanin.plan('xavier', tensors, { seed: 1, dtype: 'int9' }), /unknown dtype "int9"/],
    [() => fanin.plan('xavier', tensors, { seed: 1, alignment: 6 }), /alignment = 6 is out of range/],
    [() => fanin.plan(undefined, undefined, { seed: 1 }), Error],
  ]) {
    assert.throws(make, message instanceof RegExp ? message : undefined);
  }
  // The module still works after the errors.
  assert.equal(fanin.fillCpu(good).length, 64);
});

test('histograms agree with the expected counts', () => {
  const bins = 40;
  for (const init of [
    'normal(mean=1,std=2)', 'uniform(low=-3,high=5)', 'trunc_normal(mean=0,std=1,a=-1,b=2)',
    'trunc_normal(mean=0,std=1,a=4,b=9)', 'sparse(sparsity=0.25,std=1)', 'mamba_dt_bias', 'mamba2_a_log',
  ]) {
    const request = { name: 'w', shape: [400, 1000], init, seed: 5 };
    const histogram = new fanin.Histogram(request, bins).add(fanin.fillCpu(request));
    const n = 400000;
    const total = histogram.expected.reduce((sum, share) => sum + share, 0);
    assert(total > 0.99998 && total < 1 + 1e-9, `${init}: ${total}`);
    // Counts are binomial. The limit is 6 standard deviations, plus 4 for bins that are nearly empty. Over all bins,
    // chance exceeds it for one seed in a million.
    histogram.counts.forEach((count, bin) => {
      const share = Math.min(Math.max(histogram.expected[bin], 0), 1);
      const far = 6 * Math.sqrt(n * share * (1 - share)) + 4;
      assert(Math.abs(count - n * share) <= far, `${init}, bin ${bin}: ${count}, expected ${n * share}`);
    });
  }
  assert.equal(new fanin.Histogram({ name: 'w', shape: [4], init: 'zeros', seed: 1 }).expected, undefined);
});

// Dawn's threads would keep the process running.
after(() => setTimeout(() => process.exit(), 200));

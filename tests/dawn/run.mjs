// Dispatches fills under Dawn, whose WGSL compiler is Tint: node run.mjs JOBS OUT ANSWERS
//
// JOBS is a JSON file that tests/gpu/dawn.rs writes from fanin::gpu::raw: the shader's text, and the dispatches of each
// fill. The bytes of all fills are written to OUT, one fill after the other. The other shaders in JOBS are only
// compiled, in every variant that the fills use. The answers to the probe are written to ANSWERS. No arithmetic of the
// stream is in this file.

import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);

const [jobsPath, outPath, answersPath] = process.argv.slice(2);
const jobs = JSON.parse(readFileSync(jobsPath, 'utf8'));

const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (!adapter) {
  throw new Error('Dawn finds no adapter');
}
const device = await adapter.requestDevice();
device.addEventListener('uncapturederror', ({ error }) => {
  console.error(error.message);
  process.exit(1);
});
console.log(`${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.description}`);

async function compiled(code) {
  const module = device.createShaderModule({ code });
  for (const message of (await module.getCompilationInfo()).messages) {
    console.error(`${message.lineNum}:${message.linePos}: ${message.type}: ${message.message}`);
  }
  return module;
}

function bindingsWith(table) {
  const visibility = GPUShaderStage.COMPUTE;
  return device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility, buffer: { type: 'uniform' } },
      { binding: 1, visibility, buffer: { type: 'storage' } },
      { binding: 2, visibility, buffer: { type: table } },
    ],
  });
}

const module = await compiled(jobs.shader);
const bindings = bindingsWith('read-only-storage');
const layout = device.createPipelineLayout({ bindGroupLayouts: [bindings] });

const pipelines = new Map();
async function pipeline({ entryPoint, constants }) {
  const variant = JSON.stringify([entryPoint, constants]);
  if (!pipelines.has(variant)) {
    const compute = { module, entryPoint, constants };
    pipelines.set(variant, await device.createComputePipelineAsync({ layout, compute }));
  }
  return pipelines.get(variant);
}

function upload(base64, usage) {
  const contents = Buffer.from(base64, 'base64');
  const buffer = device.createBuffer({ size: contents.length, usage: usage | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, contents);
  return buffer;
}

// Each table is uploaded once, since most fills share their tables.
const tables = new Map();
function table(base64) {
  if (!tables.has(base64)) {
    tables.set(base64, upload(base64, GPUBufferUsage.STORAGE));
  }
  return tables.get(base64);
}

const out = openSync(outPath, 'w');
for (const fill of jobs.fills) {
  const size = Math.max(4, Math.ceil(fill.bytes / 4) * 4);
  const weights = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const dispatch of fill.dispatches) {
    pass.setPipeline(await pipeline(dispatch));
    const request = upload(dispatch.request, GPUBufferUsage.UNIFORM);
    const range = { buffer: weights, offset: dispatch.bindingOffset, size: dispatch.bindingSize };
    const entries = [
      { binding: 0, resource: { buffer: request } },
      { binding: 1, resource: range },
      { binding: 2, resource: { buffer: table(dispatch.table) } },
    ];
    pass.setBindGroup(0, device.createBindGroup({ layout: bindings, entries }));
    pass.dispatchWorkgroups(...dispatch.grid);
  }
  pass.end();
  encoder.copyBufferToBuffer(weights, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  writeSync(out, new Uint8Array(staging.getMappedRange(), 0, fill.bytes));
  staging.unmap();
  staging.destroy();
  weights.destroy();
}
closeSync(out);

// The probe.
{
  const layout = device.createBindGroupLayout({
    entries: ['read-only-storage', 'storage'].map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    })),
  });
  const compute = { module: await compiled(jobs.probe.shader), entryPoint: 'probe' };
  const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
  const pipeline = await device.createComputePipelineAsync({ layout: pipelineLayout, compute });
  const trials = upload(jobs.probe.trials, GPUBufferUsage.STORAGE);
  const size = trials.size / 2;
  const answers = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const entries = [trials, answers].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
  pass.dispatchWorkgroups(jobs.probe.workgroups);
  pass.end();
  encoder.copyBufferToBuffer(answers, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  writeFileSync(answersPath, new Uint8Array(staging.getMappedRange()));
  staging.unmap();
}

for (const { code, table } of jobs.otherShaders) {
  const module = await compiled(code);
  const layout = device.createPipelineLayout({ bindGroupLayouts: [bindingsWith(table)] });
  for (const variant of pipelines.keys()) {
    const [entryPoint, constants] = JSON.parse(variant);
    await device.createComputePipelineAsync({ layout, compute: { module, entryPoint, constants } });
  }
}
// Dawn's threads would keep the process running.
process.exit(0);

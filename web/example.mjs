// Fills a trainer's own buffers, under Node.js with Dawn (npm package `webgpu`). In a page, the device comes from
// `navigator.gpu` in the same way.

import { create, globals } from 'webgpu';
import { fill, fillCpu, init, initModel, plan, prepare } from 'fanin-webgpu';

Object.assign(globalThis, globals);
await init();
// A global variable, because Dawn shuts down when this object is collected.
globalThis.gpu = create([]);
const adapter = await globalThis.gpu.requestAdapter();
const device = await adapter.requestDevice();
await prepare(device);

// One tensor, from element 1000 of a buffer on.
const request = { name: 'fc.weight', shape: [256, 784], init: 'kaiming_normal', seed: 42 };
const weights = device.createBuffer({
  size: 4 * (1000 + 256 * 784),
  usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
});
const encoder = device.createCommandEncoder();
fill(device, encoder, weights, request, 1000);

// A whole model, each tensor at its offset in one buffer.
const model = plan('xavier', [
  { name: 'hidden.weight', shape: [256, 784] },
  { name: 'hidden.bias', shape: [256] },
  { name: 'out.weight', shape: [10, 256] },
], { seed: 42, dtype: 'bf16' });
const parameters = device.createBuffer({ size: model.bytes, usage: GPUBufferUsage.STORAGE });
initModel(device, encoder, model, parameters);
// ... the training passes follow here.

const staging = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
encoder.copyBufferToBuffer(weights, 4000, staging, 0, 16);
device.queue.submit([encoder.finish()]);
await staging.mapAsync(GPUMapMode.READ);
console.log('from the GPU:', new Float32Array(staging.getMappedRange()));
console.log('from the CPU:', new Float32Array(fillCpu(request, { length: 4 }).buffer));
for (const { name, init, dtype, offset } of model.tensors) console.log(offset, name, init, dtype);
// Dawn's threads would keep the process running.
process.exit(0);

// Tests the types. It is compiled but not run.

import {
  type Plan, type Request, Histogram, Sha256, describe, fill, fillAll, fillCpu, init, initModel, initializers, plan,
  prepare, presets, sha256,
} from 'fanin-webgpu';

export async function use(device: GPUDevice, buffer: GPUBuffer, encoder: GPUCommandEncoder, pass: GPUComputePassEncoder) {
  await init();
  await init(new URL('https://example.org/fanin.wasm'));
  const exact: boolean = await prepare(device);
  const request: Request = { name: 'w', shape: [4, 8], init: 'kaiming_normal', seed: 2n ** 60n, dtype: 'bf16' };
  fill(device, encoder, buffer, request);
  fill(device, pass, buffer, { stream: 7n, shape: [], init: 'ones', seed: 1, slice: [[0, 1]] }, 12);
  fillAll(device, encoder, [{ buffer, offset: 3, request }]);
  const model: Plan = plan('gpt2', [{ name: 'w', shape: [4] }], { seed: 1, dtype: 'f16' });
  initModel(device, encoder, model, buffer);
  initModel(device, pass, model, ({ name, offset }) => (name === 'w' ? { buffer, offset: offset / 4 } : undefined));
  const bytes: Uint8Array = fillCpu(request, { start: 1, length: 2 });
  const hash: string = new Sha256().update(bytes).hex() + sha256(bytes);
  const local: readonly number[] = describe(request).local;
  const counts: Uint32Array = new Histogram(request).add(bytes).counts;
  const names: string[] = [...presets(), ...initializers().map(({ signature }) => signature)];

  // @ts-expect-error there is no such dtype
  describe({ ...request, dtype: 'f64' });
  // @ts-expect-error the seed is missing
  describe({ name: 'w', shape: [4], init: 'ones' });
  // @ts-expect-error the buffer is missing
  fill(device, encoder, request);
  return [hash, local, counts, names, exact];
}

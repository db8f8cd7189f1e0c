// Fills the requests of a JSON list from standard input in headless Chromium, and prints the SHA-256 of each as a JSON
// list. Seeds are texts there. `python -m tests.oracle.ways` compares them with those of other implementations.

import { text } from 'node:stream/consumers';
import { address, browser, close } from './browser.mjs';

const requests = JSON.parse(await text(process.stdin));
const page = await browser.newPage();
await page.goto(address);
const hashes = await page.evaluate(async (requests) => {
  const fanin = await import(new URL('fanin.js', location.href));
  await fanin.init();
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  await fanin.prepare(device);
  const hash = async (request) => {
    const { bytes } = fanin.describe(request);
    const size = Math.ceil(bytes / 4) * 4;
    const filled = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const copied = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    fanin.fill(device, encoder, filled, request);
    encoder.copyBufferToBuffer(filled, 0, copied, 0, size);
    device.queue.submit([encoder.finish()]);
    await copied.mapAsync(GPUMapMode.READ);
    const digest = await crypto.subtle.digest('SHA-256', copied.getMappedRange().slice(0, bytes));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  const hashes = [];
  for (const request of requests) hashes.push(await hash({ ...request, seed: BigInt(request.seed) }));
  return hashes;
}, requests);
console.log(JSON.stringify(hashes));
await close();

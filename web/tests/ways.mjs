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
  const { filled } = await import(new URL('tests/filled.mjs', location.href));
  const hashes = [];
  for (const request of requests) hashes.push(await filled(fanin, device, { ...request, seed: BigInt(request.seed) }));
  return hashes;
}, requests);
console.log(JSON.stringify(hashes));
await close();

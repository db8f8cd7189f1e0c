// Tests the page in headless Chromium. Its hashes are compared with the command line's. SHOTS, if set, is a
// folder for screenshots of the page.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { address, browser, close as closeBrowser } from './browser.mjs';
import { commandLine, sha256 } from './requests.mjs';

after(closeBrowser);

async function open(options, withoutWebGpu = false) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  if (withoutWebGpu) await page.addInitScript(() => Object.defineProperty(navigator, 'gpu', { value: undefined }));
  await page.goto(address);
  await page.waitForSelector('#fill:enabled');
  return { page, faults, close: () => context.close() };
}

async function fill(page, { init, shape, name, seed, dtype = 'f32', layout = 'out_in' }) {
  await page.getByLabel('Initializer').fill(init);
  await page.getByLabel('Shape').fill(shape.join(', '));
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Seed').fill(String(seed));
  await page.getByLabel('Type').selectOption(dtype);
  await page.getByLabel('Layout').selectOption(layout);
  await page.getByRole('button', { name: 'Fill' }).click();
  await page.waitForSelector('#fill:enabled', { timeout: 120_000 });
}

const text = (page, id) => page.locator(id).textContent();

const request = { init: 'kaiming_normal(mode=fan_out)', shape: [1024, 1024], name: 'layers.0.weight', seed: 42 };

// Returns the share of the canvas that is drawn on.
const painted = (page) => page.evaluate(() => {
  const canvas = document.getElementById('histogram');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, i) => i % 4 === 3).filter((alpha) => alpha > 0).length / (canvas.width * canvas.height);
});

test('the page shows the hash of the command line', async () => {
  const { page, faults, close } = await open({ viewport: { width: 900, height: 1000 } });
  assert.match(await text(page, '#device'), /^GPU: .*SwiftShader/i);
  for (const asked of [
    request,
    { ...request, init: 'uniform(low=-0.05,high=0.05)', shape: [300, 7], dtype: 'bf16', layout: 'in_out', seed: 2n ** 64n - 1n },
    { ...request, init: 'orthogonal', shape: [64, 48], dtype: 'f16', name: "it's a name" },
  ]) {
    await fill(page, asked);
    assert.equal(await page.locator('#error').isVisible(), false, await text(page, '#error'));
    assert.equal(await text(page, '#hash'), sha256(commandLine(asked)), asked.init);
    assert.match(await text(page, '#speed'), /^[\d.,]+ GB\/s$/);
    assert.match(await text(page, '#how'), asked.init === 'orthogonal' ? /on the CPU/ : /SwiftShader/i);
    assert((await painted(page)) > 0.05);
  }
  assert.match(await text(page, '#command'), /^fanin fill --init orthogonal --shape 64,48 --name 'it'\\''s a name' --seed 42 --dtype f16 --out - \| sha256sum$/);

  await fill(page, { ...request, init: 'normall' });
  assert.match(await text(page, '#error'), /"normall" is not an initializer/);
  assert.equal(await page.locator('#result').isVisible(), false);
  await fill(page, { ...request, shape: [2 ** 20, 2 ** 20] });
  assert.match(await text(page, '#error'), /./);
  await fill(page, request);
  assert.equal(await text(page, '#hash'), sha256(commandLine(request)));
  assert.deepEqual(faults, []);
  await close();
});

test('a device gives the same bytes before it is prepared and after, and the page prepares its own', async () => {
  const { page, faults, close } = await open();
  const asked = [
    request,
    { ...request, init: 'uniform(low=-0.05,high=0.05)', shape: [300, 7], dtype: 'bf16' },
    { ...request, init: 'trunc_normal(mean=0.1,std=0.5,a=-0.3,b=0.9)', shape: [301, 76], dtype: 'f16' },
  ];
  const seen = await page.evaluate(async (asked) => {
    const fanin = await import(new URL('fanin.js', location.href));
    const { createComputePipeline } = GPUDevice.prototype;
    window.integers = [];
    GPUDevice.prototype.createComputePipeline = function create(descriptor) {
      window.integers.push(descriptor.compute.constants.INTEGERS);
      return createComputePipeline.call(this, descriptor);
    };
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    const { filled } = await import(new URL('tests/filled.mjs', location.href));
    const hashes = async () => {
      const all = [];
      for (const request of asked) all.push(await filled(fanin, device, request));
      return { all, integers: window.integers.splice(0) };
    };
    return { before: await hashes(), isExact: await fanin.prepare(device), after: await hashes() };
  }, asked);
  const all = asked.map((request) => sha256(commandLine(request)));
  assert.deepEqual(seen, {
    before: { all, integers: [1, 1, 1] },
    isExact: true,
    after: { all, integers: [0, 0, 0] },
  });
  await fill(page, request);
  assert.deepEqual(await page.evaluate(() => window.integers), [0]);
  assert.deepEqual(faults, []);
  await close();
});

test('without WebGPU the page says so and fills on the CPU', async () => {
  const { page, faults, close } = await open({ viewport: { width: 900, height: 1000 } }, true);
  assert.match(await text(page, '#device'), /^No WebGPU here/);
  await fill(page, request);
  assert.equal(await text(page, '#hash'), sha256(commandLine(request)));
  assert.match(await text(page, '#how'), /on the CPU, in WebAssembly/);
  assert.deepEqual(faults, []);
  await close();
});

test('the page fits a phone and works by keyboard', async () => {
  const { page, close } = await open({ viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
  await page.getByLabel('Shape').fill('512, 256');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#result:visible');
  const asked = { ...request, init: 'kaiming_normal', shape: [512, 256] };
  assert.equal(await text(page, '#hash'), sha256(commandLine(asked)));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(wide <= 360, `${wide} pixels wide`);
  await close();
});

const { SHOTS } = process.env;
test('pictures', { skip: !SHOTS && 'SHOTS names no folder' }, async () => {
  for (const [name, options] of [
    ['light', { viewport: { width: 860, height: 1060 }, colorScheme: 'light' }],
    ['dark', { viewport: { width: 860, height: 1060 }, colorScheme: 'dark' }],
    ['phone', { viewport: { width: 360, height: 740 }, colorScheme: 'light' }],
  ]) {
    const { page, close } = await open(options);
    await fill(page, { ...request, shape: [2048, 2048] });
    await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
    await close();
  }
});

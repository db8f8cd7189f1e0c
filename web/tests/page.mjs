// The page in headless Chromium: what it shows is compared with the command line. CHROMIUM names the
// program; SHOTS, if set, a folder for pictures of the page.

import assert from 'node:assert/strict';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { commandLine, sha256 } from './requests.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };

const server = createServer((request, response) => {
  const path = join(root, normalize(new URL(request.url, 'http://localhost').pathname));
  const file = path.endsWith('/') ? join(path, 'index.html') : path;
  if (!file.startsWith(root) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = `http://localhost:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: [
    '--headless', '--no-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-quic', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
  ],
});
after(async () => {
  await browser.close();
  server.close();
});

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

// Two canvases' worth of pixels that differ from the background are enough to tell that it is drawn.
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

test('where there is no WebGPU it says so, and fills on the CPU', async () => {
  const { page, faults, close } = await open({ viewport: { width: 900, height: 1000 } }, true);
  assert.match(await text(page, '#device'), /^No WebGPU here/);
  await fill(page, request);
  assert.equal(await text(page, '#hash'), sha256(commandLine(request)));
  assert.match(await text(page, '#how'), /on the CPU, in WebAssembly/);
  assert.deepEqual(faults, []);
  await close();
});

test('it fits a phone, and works by keyboard', async () => {
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

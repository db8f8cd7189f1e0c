// The page: reads a form, fills what it requests on the GPU (or on the CPU if there is no GPU), and shows the result.

import { Histogram, Sha256, describe, fill, fillCpu, init, initializers, prepare } from './fanin.js';

// Bytes that are read back or made on the CPU at a time.
const STEP = 16 << 20;
// Seconds that a measurement should take, and the most fills that it makes.
const MEASURED = 0.2;
const MOST_FILLS = 50;
// The most bytes that the CPU makes. More would take the page too long.
const MOST_ON_CPU = 2 ** 30;

const $ = (id) => document.getElementById(id);
let gpu;
let shown;

// Returns the device and its name, or undefined without WebGPU.
async function openDevice() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return undefined;
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: adapter.features.has('timestamp-query') ? ['timestamp-query'] : [],
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  device.lost.then(({ reason, message }) => {
    gpu = undefined;
    if (reason !== 'destroyed') $('device').textContent = `The GPU was lost (${message}): filling on the CPU.`;
  });
  await prepare(device);
  const { vendor, architecture, description } = adapter.info;
  return { device, name: description || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed' };
}

// Returns the median.
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

const now = () => performance.now() / 1000;

// Runs `work`, and throws the error if the device reports one.
async function checked(device, work) {
  const scopes = ['validation', 'out-of-memory', 'internal'];
  for (const scope of scopes) device.pushErrorScope(scope);
  let faults;
  let result;
  try {
    result = work();
  } finally {
    faults = Promise.all(scopes.map(() => device.popErrorScope()));
  }
  const fault = (await faults).find(Boolean);
  if (fault) throw new Error(`the GPU reports an error: ${fault.message}`);
  return result;
}

// Fills a new buffer of the device, and measures the time.
async function onGpu({ device }, request, bytes) {
  const size = Math.max(4, Math.ceil(bytes / 4) * 4);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const buffer = await checked(device, () => device.createBuffer({ label: request.name, size, usage }));
  try {
    const submit = () => {
      const encoder = device.createCommandEncoder();
      fill(device, encoder, buffer, request);
      device.queue.submit([encoder.finish()]);
    };
    const timed = async () => {
      const start = now();
      submit();
      await device.queue.onSubmittedWorkDone();
      return now() - start;
    };
    // The first fill compiles the shader, so it is not timed.
    await checked(device, submit);
    await device.queue.onSubmittedWorkDone();
    const once = await timed();
    const fills = Math.min(MOST_FILLS, Math.max(3, Math.round(MEASURED / Math.max(once, 1e-4))));
    const clock = device.features.has('timestamp-query')
      ? await deviceTime(device, request, buffer, fills)
      : undefined;
    if (clock) return { buffer, time: clock, how: `Measured with the GPU’s own clock: the median of ${fills} fills.` };
    const times = [];
    while (times.length < fills) times.push(await timed());
    return { buffer, time: median(times), how: `Measured by the page, submission included: the median of ${fills} fills.` };
  } catch (error) {
    buffer.destroy();
    throw error;
  }
}

// Returns the time of a fill by the device's clock, or undefined if the clock is too coarse.
async function deviceTime(device, request, buffer, fills) {
  const querySet = device.createQuerySet({ type: 'timestamp', count: 2 * fills });
  const size = 16 * fills;
  const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  for (let i = 0; i < fills; i += 1) {
    const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
    const pass = encoder.beginComputePass({ timestampWrites });
    fill(device, pass, buffer, request);
    pass.end();
  }
  encoder.resolveQuerySet(querySet, 0, 2 * fills, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
  for (const made of [querySet, resolved, staging]) made.destroy();
  const times = Array.from({ length: fills }, (_, i) => Number(stamps[2 * i + 1] - stamps[2 * i]) * 1e-9);
  const time = median(times);
  return time > 0 ? time : undefined;
}

// Passes the contents of a buffer to `take`, in pieces.
async function readBack(device, buffer, bytes, take) {
  const staging = device.createBuffer({
    size: Math.min(STEP, buffer.size),
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  for (let start = 0; start < bytes; start += STEP) {
    const size = Math.min(STEP, buffer.size - start);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, start, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ, 0, size);
    take(new Uint8Array(staging.getMappedRange(0, size), 0, Math.min(size, bytes - start)));
    staging.unmap();
  }
  staging.destroy();
}

// Makes the bytes on the CPU, in pieces, and measures the time.
async function onCpu(request, { elements, dtype, bytes }, take) {
  if (bytes > MOST_ON_CPU) throw new Error(`${count(bytes)} bytes are too many for the CPU of this page: it makes at most ${count(MOST_ON_CPU)}`);
  const step = STEP / (dtype === 'f32' ? 4 : 2);
  let time = 0;
  for (let start = 0; start < elements; start += step) {
    const begin = now();
    const part = fillCpu(request, { start, length: Math.min(step, elements - start) });
    time += now() - begin;
    take(part);
    // Lets the page react to input.
    await new Promise((resolve) => setTimeout(resolve));
  }
  return time;
}

function readForm() {
  const shape = $('shape').value.trim();
  const dims = shape === '' ? [] : shape.split(/\s*[,x×]\s*|\s+/).map((dim) => {
    if (!/^\d+$/.test(dim)) throw new Error(`shape ${JSON.stringify(shape)}: it must be whole numbers, such as 4096, 4096`);
    return Number(dim);
  });
  const seed = $('seed').value.trim();
  if (!/^\d+$/.test(seed)) throw new Error(`seed ${JSON.stringify(seed)}: it must be a whole number`);
  return {
    name: $('name').value,
    shape: dims,
    init: $('init').value.trim(),
    seed: BigInt(seed),
    dtype: $('dtype').value,
    layout: $('layout').value,
  };
}

// Quotes a word for a shell.
const quoted = (text) => (/^[\w.,:/=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function commandLine({ name, shape, init, seed, dtype, layout }) {
  const words = ['fanin', 'fill', '--init', init, '--shape', shape.join(',')];
  // A name that begins with a hyphen would be read as an option.
  words.push(...(name.startsWith('-') ? [`--name=${name}`] : ['--name', name]), '--seed', String(seed));
  if (dtype !== 'f32') words.push('--dtype', dtype);
  if (layout !== 'out_in') words.push('--layout', layout);
  words.push('--out', '-');
  return [...words.map(quoted), '|', 'sha256sum'];
}

async function run() {
  const request = readForm();
  const description = describe(request);
  const { elements, bytes } = description;
  const hasher = new Sha256();
  const histogram = new Histogram(request, 72);
  const take = (part) => {
    hasher.update(part);
    histogram.add(part);
  };
  let time;
  let how;
  if (gpu && description.onGpu) {
    const { device } = gpu;
    const made = await onGpu(gpu, request, bytes);
    ({ time, how } = made);
    await readBack(device, made.buffer, bytes, take);
    made.buffer.destroy();
    how += ` On ${gpu.name}.`;
  } else {
    time = await onCpu(request, description, take);
    how = gpu
      ? 'Made on the CPU, in WebAssembly on one thread: an orthogonal matrix needs more than one shader.'
      : 'Made on the CPU, in WebAssembly on one thread: this browser has no WebGPU.';
  }
  show({ request, description, histogram, hash: hasher.hex(), time, how });
}

const count = (number) => number.toLocaleString('en');
const rounded = (number) => number.toLocaleString('en', { maximumSignificantDigits: 3 });

function duration(seconds) {
  const [unit, scale] = seconds < 1e-3 ? ['µs', 1e6] : seconds < 1 ? ['ms', 1e3] : ['s', 1];
  return `${rounded(seconds * scale)} ${unit}`;
}

function show(result) {
  const { request, description, hash, time, how } = result;
  shown = result;
  $('distribution').textContent = description.distribution;
  $('speed').textContent = description.bytes > 0 ? `${rounded(description.bytes / time / 1e9)} GB/s` : '–';
  $('time').textContent = duration(time);
  $('elements').textContent = count(description.elements);
  $('bytes').textContent = count(description.bytes);
  $('how').textContent = how;
  $('hash').textContent = hash;
  // One element for each word, so that lines break only between words.
  const words = commandLine(request).map((word) => Object.assign(document.createElement('span'), { textContent: word }));
  $('command').replaceChildren(...words.flatMap((word) => [word, ' ']).slice(0, -1));
  $('result').hidden = false;
  draw();
}

// Formats a number of the axis.
const label = (value) => (value === 0 ? '0' : String(Number(value.toPrecision(3))));

function draw() {
  const { histogram, description } = shown;
  const { low, high, counts, expected } = histogram;
  const canvas = $('histogram');
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.font = '12px system-ui, "DejaVu Sans", sans-serif';

  const { elements } = description;
  const bottom = height - 22;
  const wanted = expected ? Array.from(expected, (share) => share * elements) : [];
  const highest = Math.max(1, ...counts, ...wanted);
  const x = (bin) => (bin / counts.length) * width;
  const y = (count) => bottom - (count / highest) * (bottom - 8);
  context.fillStyle = color('--bar');
  counts.forEach((count, bin) => {
    context.fillRect(x(bin), y(count), Math.max(1, width / counts.length - 1), bottom - y(count));
  });
  if (expected) {
    context.strokeStyle = color('--curve');
    context.lineWidth = 1.75;
    context.lineJoin = 'round';
    context.beginPath();
    wanted.forEach((count, bin) => context.lineTo(x(bin + 0.5), y(count)));
    context.stroke();
  }
  context.strokeStyle = color('--line');
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, bottom + 0.5);
  context.lineTo(width, bottom + 0.5);
  context.stroke();
  context.fillStyle = color('--soft');
  const ticks = 5;
  for (let i = 0; i < ticks; i += 1) {
    context.textAlign = i === 0 ? 'left' : i === ticks - 1 ? 'right' : 'center';
    const at = i / (ticks - 1);
    context.fillText(label(low + (high - low) * at), width * at, height - 5);
  }
  const bars = `Bars: all ${count(elements)} elements, counted in ${counts.length} bins.`;
  $('caption').textContent = expected
    ? `${bars} Line: the expected counts of ${description.distribution}.`
    : `${bars} No line: the elements are not drawn independently from one distribution.`;
  canvas.setAttribute('aria-label', `Histogram from ${label(low)} to ${label(high)}. ${$('caption').textContent}`);
}

function aboutInitializer(all) {
  const name = $('init').value.trim().split('(')[0];
  const known = all.find((entry) => entry.name === name);
  $('about').textContent = known ? `Elements: ${known.formula}. Use: ${known.when}.` : '';
}

async function submit(event) {
  event.preventDefault();
  $('fill').disabled = true;
  $('fill').textContent = 'Filling…';
  $('error').hidden = true;
  try {
    await run();
  } catch (error) {
    $('error').textContent = error.message;
    $('error').hidden = false;
    $('result').hidden = true;
  }
  $('fill').disabled = false;
  $('fill').textContent = 'Fill';
}

async function copy() {
  const button = $('copy');
  try {
    await navigator.clipboard.writeText($('command').textContent);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren($('command'));
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

try {
  await init();
  const all = initializers();
  for (const { signature, formula } of all) {
    // Keys in brackets are optional, so the suggestion leaves them out.
    const value = signature.replace(/,?\[[^\]]*\]/g, '').replace('(,', '(').replace('()', '');
    $('inits').append(new Option(formula, value));
  }
  aboutInitializer(all);
  $('init').addEventListener('input', () => aboutInitializer(all));
  gpu = await openDevice().catch(() => undefined);
  $('device').textContent = gpu
    ? `GPU: ${gpu.name}`
    : 'No WebGPU here: filling on the CPU, in WebAssembly. The bits are the same.';
  $('form').addEventListener('submit', submit);
  $('copy').addEventListener('click', copy);
  addEventListener('resize', () => shown && draw());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => shown && draw());
  $('fill').disabled = false;
} catch (error) {
  $('error').textContent = `The WebAssembly module of this page cannot be loaded (build it with web/build): ${error.message}`;
  $('error').hidden = false;
}

// Requests, and their bytes from the command line.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';

const name = 'layers.0.weight';
const seed = 42;

// The command-line program that makes the expected bytes.
const FANIN = process.env.FANIN;
if (!FANIN) throw new Error('FANIN is not set: it must be the path of the fanin program');

export const requests = ['f32', 'f16', 'bf16'].flatMap((dtype) => [
  ...[
    'normal(mean=0,std=0.02)',
    'normal(mean=-1.5,std=0.5)',
    'normal(mean=0,std=1e-38)',
    'uniform(low=-0.05,high=0.05)',
    'kaiming_normal(mode=fan_out)',
    'xavier_uniform',
    'lecun_normal',
    'trunc_normal(mean=0,std=0.02)',
    'trunc_normal(mean=0.1,std=0.5,a=-0.3,b=0.9)',
    'constant(value=0.1)',
    'zeros',
    'eye',
    'sparse(sparsity=0.3,std=1)',
    'embedding(padding_idx=3)',
    'sinusoidal',
    'mamba_dt_bias',
    'mamba_a_log',
    'causal_mask',
    'arange(start=-3)',
    'inv_freq',
  ].map((init) => ({ name, shape: [129, 76], init, seed, dtype })),
  { name, shape: [129, 77], init: 'kaiming_uniform', seed, dtype, layout: 'in_out', slice: '3:50,7:22' },
  { name, shape: [16, 8, 4, 4], init: 'normal(mean=0,std=1)', seed, dtype, slice: [[2, 9], [1, 7], [1, 3], [0, 4]] },
  // Far into a large tensor, and the largest seed.
  { name, shape: [2 ** 34, 6], init: 'normal(mean=0,std=1)', seed: 2n ** 64n - 1n, dtype, slice: '8589934593:8589934792,1:4' },
  { stream: 17734696886724432n, shape: [1000, 100], init: 'normal(mean=0,std=1)', seed: 0, dtype },
  { name: 'scalar', shape: [], init: 'normal(mean=0,std=1)', seed, dtype },
  { name: 'empty', shape: [0, 7], init: 'normal(mean=0,std=1)', seed, dtype },
]);

// Returns the bytes that `fanin fill` writes.
export function commandLine({ name, stream, shape, init, seed, dtype = 'f32', layout = 'out_in', slice }) {
  const words = ['fill', '--init', init, '--shape', shape.join(','), '--seed', String(seed)];
  words.push(...(name === undefined ? ['--stream', String(stream)] : ['--name', name]));
  words.push('--dtype', dtype, '--layout', layout, '--backend', 'cpu', '--out', '-');
  if (slice) words.push('--slice', Array.isArray(slice) ? slice.map((range) => range.join(':')).join(',') : slice);
  return program(...words);
}

// Runs the program. If it fails, the exception contains its standard error.
export const program = (...words) => execFileSync(FANIN, words, { maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'pipe'] });

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

// Returns the tensors of a GPT-2 with two layers and smaller dimensions, from the list of the whole model.
export function smallGpt2(list) {
  return list.tensors
    .filter(({ name }) => !/\.h\.(?:[2-9]|1\d)\./.test(name))
    .map(({ name, shape, module }) => ({
      name,
      shape: shape.map((dim) => ({ 50257: 501, 1024: 64, 768: 96, 2304: 288, 3072: 384 })[dim] ?? dim),
      module,
    }));
}

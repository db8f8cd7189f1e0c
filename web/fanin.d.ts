// The types of WebGPU are TypeScript's own, from 6.0 on (lib "dom"); before, those of @webgpu/types.

/** The type of an element. */
export type DType = 'f32' | 'f16' | 'bf16';

/** Which axes of a shape are inputs and outputs: `out_in` (torch) or `in_out` (Keras, JAX). */
export type Layout = 'out_in' | 'in_out';

/** One tensor, or a slice of it: the same request as `fanin fill` takes, with the same bits. */
export interface Request {
  /** The tensor's name: it picks the stream. This or `stream` must be given. */
  name?: string;
  /** The stream id, 0 to 2^64 - 1, in place of the one that the name picks. */
  stream?: number | bigint;
  /** The shape of the whole tensor; empty for a scalar. At most 2^50 elements. */
  shape: readonly number[];
  /** The initializer, as in `"kaiming_normal(mode=fan_out)"`: see {@link initializers}. */
  init: string;
  /** The seed, 0 to 2^64 - 1; a bigint from 2^53 on. */
  seed: number | bigint;
  /** The type of the elements; `f32` by default. */
  dtype?: DType;
  /** `out_in` by default. */
  layout?: Layout;
  /** The part to fill, as in `"0:100,:"` or `[[0, 100], [0, 512]]`; it holds the bits of the whole. */
  slice?: string | readonly (readonly [start: number, end: number])[];
}

/** What a request comes to. */
export interface Description {
  readonly name: string;
  /** The shape of the whole tensor. */
  readonly shape: readonly number[];
  /** The shape of what is filled: that of the slice, where there is one. */
  readonly local: readonly number[];
  readonly dtype: DType;
  readonly seed: bigint;
  readonly stream: bigint;
  /** The initializer with this shape's numbers, as in `normal(mean=0,std=0.0625)`. */
  readonly distribution: string;
  /** Elements to be filled. */
  readonly elements: number;
  /** Bytes to be filled. A buffer needs them rounded up to a multiple of 4. */
  readonly bytes: number;
  /** Whether {@link fill} can do it: false for orthogonal matrices, which {@link fillCpu} makes. */
  readonly onGpu: boolean;
}

/** An initializer of the catalogue. */
export interface Initializer {
  readonly name: string;
  /** As it could be written, with keys and defaults. */
  readonly signature: string;
  readonly formula: string;
  readonly frameworks: string;
  readonly when: string;
}

/** A tensor of a list. Other keys are ignored. */
export interface ListedTensor {
  name: string;
  shape: readonly number[];
  dtype?: string;
}

/** A tensor of a plan. */
export interface PlannedTensor extends Description {
  /** The rule's initializer. */
  readonly init: string;
  /** The tensor whose weights this one has, where a rule ties it. */
  readonly tiedTo?: string;
  /** Where it begins in a buffer that holds the whole model, in bytes. */
  readonly offset: number;
}

/** A recipe resolved against a list of tensors, and where each has its place in one buffer. */
export interface Plan {
  /** The seed of all tensors whose rule gives none of its own. */
  readonly seed: bigint;
  /** In the list's order. */
  readonly tensors: readonly PlannedTensor[];
  /** Elements of all tensors. */
  readonly elements: number;
  /** The size of a buffer that holds all tensors, each at its `offset`. */
  readonly bytes: number;
}

/** Where a tensor goes. */
export interface Place {
  /** A buffer with usage STORAGE. */
  buffer: GPUBuffer;
  /** Where in the buffer the first element goes, in elements of the tensor's dtype; any number, 0 by default. */
  offset?: number;
}

/** A request and where it goes. */
export interface Target extends Place {
  request: Request;
}

/**
 * Loads the WebAssembly module; everything else needs it. Later calls return the first one's promise.
 * @param source Where the module is, if not beside this file: a URL, a response, or its bytes.
 */
export function init(source?: string | URL | Response | BufferSource | WebAssembly.Module): Promise<void>;

/**
 * Checks with a small dispatch whether a device's floats are exact where WGSL requires it. The first call
 * for a device runs the check; later ones return its answer. Await it before the first fill: fills then
 * make values in floats, which is faster. On a device that was not checked, or did not pass, they make
 * values in integers: the same bits, in more time.
 * @returns Whether the device passed.
 * @throws Error, as a rejection, if the dispatch cannot run, for a lost device say. Fills still use integers then.
 */
export function prepare(device: GPUDevice): Promise<boolean>;

/**
 * Records a fill into an encoder, or a compute pass, of your own: `buffer` holds the tensor from
 * element `offset` on once its commands have run, and nothing outside of that changes. Of a pass, the
 * pipeline and bind group 0 are set.
 * @throws Error for a request that is refused, with the reason; for a buffer that is too small or lacks
 * STORAGE; for an orthogonal matrix. Nothing is recorded then. What only the device can find (a buffer of
 * another device, a lack of memory) goes to its error scopes.
 */
export function fill(
  device: GPUDevice,
  encoder: GPUCommandEncoder | GPUComputePassEncoder,
  buffer: GPUBuffer,
  request: Request,
  offset?: number,
): void;

/**
 * Records many fills: in few dispatches where tensors share a buffer. They may lie side by side.
 * @throws Error as {@link fill}, and if two would write the same bytes. Nothing is recorded then.
 */
export function fillAll(
  device: GPUDevice,
  encoder: GPUCommandEncoder | GPUComputePassEncoder,
  targets: readonly Target[],
): void;

/**
 * Gives each tensor of a model its initializer.
 * @param recipe A preset's name (see {@link presets}), or the text of a recipe.
 * @param tensors The model's tensors, or their list as JSON text, `{"tensors": [...]}`.
 * @param options `seed`: needed unless the recipe gives one. `dtype`: that of all tensors, whatever recipe
 * and list say. `alignment`: bytes that each tensor's offset is a multiple of, 256 by default, so that it
 * can be bound on its own.
 * @throws Error for a recipe or a list that is refused, or a tensor that no rule matches.
 */
export function plan(
  recipe: string | { toml: string },
  tensors: readonly ListedTensor[] | string,
  options?: { seed?: number | bigint; dtype?: DType; alignment?: number },
): Plan;

/**
 * Records the fills of a whole model.
 * @param destination One buffer for all, of `plan.bytes` bytes; or a function that says where a tensor
 * goes, and leaves it out if it returns nothing.
 * @throws Error as {@link fillAll}.
 */
export function initModel(
  device: GPUDevice,
  encoder: GPUCommandEncoder | GPUComputePassEncoder,
  plan: Plan,
  destination: GPUBuffer | ((tensor: PlannedTensor) => Place | null | undefined),
): void;

/**
 * The bytes of a fill, little-endian, made on the CPU: the same as {@link fill} writes.
 * @param part Elements `start` to `start + length` alone, counted in the row-major order of what is filled.
 * @throws Error for a request that is refused, and a part that reaches past the end.
 */
export function fillCpu(request: Request, part?: { start?: number; length?: number }): Uint8Array<ArrayBuffer>;

/** What a request comes to; nothing is filled. */
export function describe(request: Request): Description;

/** All initializers. */
export function initializers(): Initializer[];

/** The names of the recipes that are built in. */
export function presets(): string[];

/** SHA-256 of bytes, in hexadecimal, as `sha256sum` prints it. */
export function sha256(bytes: Uint8Array): string;

/** SHA-256 of bytes that come in pieces. */
export class Sha256 {
  update(bytes: Uint8Array): this;
  hex(): string;
}

/** How the elements of a request are distributed, and how they are expected to be. */
export class Histogram {
  /** @param bins The number of bins, 64 by default. */
  constructor(request: Request, bins?: number);
  /** The lower end of the first bin. */
  readonly low: number;
  /** The upper end of the last bin. */
  readonly high: number;
  /** Elements in each bin. */
  readonly counts: Uint32Array;
  /** The share of the elements expected in each bin; undefined where none is drawn. */
  readonly expected: Float64Array | undefined;
  /** Counts elements, given as bytes. */
  add(bytes: Uint8Array): this;
}

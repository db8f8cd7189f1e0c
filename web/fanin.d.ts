// The types of WebGPU come from TypeScript itself (6.0 or newer, lib "dom"), or from @webgpu/types.

/** The type of an element. */
export type DType = 'f32' | 'f16' | 'bf16';

/** The order of the output and input axes of a shape: `out_in` (torch) or `in_out` (Keras, JAX). */
export type Layout = 'out_in' | 'in_out';

/** A request for one tensor or a slice of it. It has the arguments of `fanin fill`, and gives the same bits. */
export interface Request {
  /** The tensor's name, which determines its random numbers. This or `stream` is required. */
  name?: string;
  /** The stream id, 0 to 2^64 - 1, instead of the one that follows from the name. */
  stream?: number | bigint;
  /** The shape of the whole tensor, empty for a scalar. It has at most 2^50 elements. */
  shape: readonly number[];
  /** The initializer, such as `"kaiming_normal(mode=fan_out)"`: see {@link initializers}. */
  init: string;
  /** The seed, 0 to 2^64 - 1. From 2^53 on it must be a bigint. */
  seed: number | bigint;
  /** The type of the elements, `f32` by default. */
  dtype?: DType;
  /** The layout, `out_in` by default. */
  layout?: Layout;
  /** The slice to fill, such as `"0:100,:"` or `[[0, 100], [0, 512]]`. It has the bits of the whole tensor. */
  slice?: string | readonly (readonly [start: number, end: number])[];
}

/** The description of a request: sizes, and the distribution of the elements. */
export interface Description {
  readonly name: string;
  /** The shape of the whole tensor. */
  readonly shape: readonly number[];
  /** The shape of the slice, or of the tensor without a slice. */
  readonly local: readonly number[];
  readonly dtype: DType;
  readonly seed: bigint;
  readonly stream: bigint;
  /** The distribution that the initializer gives for this shape, such as `normal(mean=0,std=0.0625)`. */
  readonly distribution: string;
  /** The number of elements to fill. */
  readonly elements: number;
  /** The number of bytes to fill. For the size of a buffer, round it up to a multiple of 4. */
  readonly bytes: number;
  /** True if {@link fill} accepts the request. False for orthogonal matrices, which {@link fillCpu} makes. */
  readonly onGpu: boolean;
}

/** An initializer of the catalogue. */
export interface Initializer {
  readonly name: string;
  /** The initializer as it is written, with its keys and defaults. */
  readonly signature: string;
  readonly formula: string;
  readonly frameworks: string;
  readonly when: string;
}

/** A tensor of a tensor list. Other keys are ignored. */
export interface ListedTensor {
  name: string;
  shape: readonly number[];
  dtype?: string;
}

/** A tensor of a plan. */
export interface PlannedTensor extends Description {
  /** The initializer of its rule. */
  readonly init: string;
  /** The tensor whose weights this one shares, if a rule ties it. */
  readonly tiedTo?: string;
  /** Its offset in a buffer that holds the whole model, in bytes. */
  readonly offset: number;
}

/** A recipe resolved for a list of tensors, with the offset of each tensor in one buffer. */
export interface Plan {
  /** The seed of all tensors whose rule has no seed of its own. */
  readonly seed: bigint;
  /** The tensors, in the order of the list. */
  readonly tensors: readonly PlannedTensor[];
  /** The number of elements of all tensors. */
  readonly elements: number;
  /** The size of a buffer for all tensors, in bytes. */
  readonly bytes: number;
}

/** A place for a tensor. */
export interface Place {
  /** A buffer with usage STORAGE. */
  buffer: GPUBuffer;
  /** The offset of the first element in the buffer, in elements of the tensor's dtype. Any whole number, 0 by default. */
  offset?: number;
}

/** A request with the place for its tensor. */
export interface Target extends Place {
  request: Request;
}

/**
 * Loads the WebAssembly module, which everything else needs. Later calls return the promise of the first call.
 * @param source The module, if it is not beside this file: a URL, a response, or its bytes.
 */
export function init(source?: string | URL | Response | BufferSource | WebAssembly.Module): Promise<void>;

/**
 * Checks with a small dispatch whether a device's floats are exact where WGSL requires it. The first call
 * for a device runs the check; later calls return its result. Await it before the first fill: fills then
 * use floats, which is faster. If a device was not checked or did not pass, fills use integers: the bits
 * are the same, but it takes longer.
 * @returns True if the device passed.
 * @throws Error, as a rejection, if the dispatch cannot run, for example on a lost device. Fills then use integers.
 */
export function prepare(device: GPUDevice): Promise<boolean>;

/**
 * Records a fill into your own encoder or compute pass. After its commands have run, `buffer` contains the
 * tensor from element `offset` on. Nothing else in the buffer changes. In a pass, the pipeline and bind
 * group 0 are set.
 * @throws Error for an invalid request, a buffer that is too small or lacks STORAGE, or an orthogonal
 * matrix. Then nothing is recorded. Errors that only the device can find (a buffer of another device, out
 * of memory) go to its error scopes.
 */
export function fill(
  device: GPUDevice,
  encoder: GPUCommandEncoder | GPUComputePassEncoder,
  buffer: GPUBuffer,
  request: Request,
  offset?: number,
): void;

/**
 * Records many fills, with few dispatches if tensors share a buffer. Tensors may be side by side.
 * @throws Error as {@link fill} does, and if two fills overlap. Then nothing is recorded.
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
 * @param options `seed` is required unless the recipe has one. `dtype` is the type of all tensors; it takes
 * precedence over the recipe and the list. Each tensor's offset is a multiple of `alignment` bytes, 256 by
 * default, so that each tensor can be bound separately.
 * @throws Error for an invalid recipe or list, or a tensor that no rule matches.
 */
export function plan(
  recipe: string | { toml: string },
  tensors: readonly ListedTensor[] | string,
  options?: { seed?: number | bigint; dtype?: DType; alignment?: number },
): Plan;

/**
 * Records the fills of a whole model.
 * @param destination One buffer of `plan.bytes` bytes for all tensors, or a function that returns the place
 * of a tensor. If the function returns nothing, the tensor is skipped.
 * @throws Error as {@link fillAll} does.
 */
export function initModel(
  device: GPUDevice,
  encoder: GPUCommandEncoder | GPUComputePassEncoder,
  plan: Plan,
  destination: GPUBuffer | ((tensor: PlannedTensor) => Place | null | undefined),
): void;

/**
 * Returns the bytes of a fill, little-endian, made on the CPU. They are the same as those of {@link fill}.
 * @param part Selects the elements `start` to `start + length`, in row-major order of the slice or tensor.
 * @throws Error for an invalid request, and for a part that is out of range.
 */
export function fillCpu(request: Request, part?: { start?: number; length?: number }): Uint8Array<ArrayBuffer>;

/** Returns the description of a request; nothing is filled. */
export function describe(request: Request): Description;

/** Returns all initializers. */
export function initializers(): Initializer[];

/** Returns the names of the built-in recipes. */
export function presets(): string[];

/** Returns the SHA-256 of bytes in hexadecimal, as `sha256sum` prints it. */
export function sha256(bytes: Uint8Array): string;

/** The SHA-256 of bytes that are added in pieces. */
export class Sha256 {
  update(bytes: Uint8Array): this;
  hex(): string;
}

/** A histogram of the elements of a request, with the expected counts. */
export class Histogram {
  /** @param bins The number of bins, 64 by default. */
  constructor(request: Request, bins?: number);
  /** The lower end of the first bin. */
  readonly low: number;
  /** The upper end of the last bin. */
  readonly high: number;
  /** The number of elements in each bin. */
  readonly counts: Uint32Array;
  /** The expected share of the elements in each bin. Undefined if the elements are not drawn independently. */
  readonly expected: Float64Array | undefined;
  /** Counts the elements in these bytes. */
  add(bytes: Uint8Array): this;
}

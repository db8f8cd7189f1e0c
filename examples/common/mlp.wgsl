// A multilayer perceptron: forward, backward, stochastic gradient descent. Each entry point is one step for
// one layer. A row is an image of the batch, and a column is a neuron.

struct Layer {
    inputs: u32,
    outputs: u32,
    // Offsets of the layer's weights, [inputs, outputs], and of its biases in `parameters`. The biases are
    // the row after the weights.
    weight: u32,
    bias: u32,
    // Offsets of its inputs and its outputs in `values` and `deltas`, in row-major order.
    below: u32,
    above: u32,
    // The activations after the layer and before it: see Activation in mlp.rs; 0 is none.
    activation: u32,
    activation_below: u32,
}

struct Batch {
    // The images of the batch: order[first .. first + rows].
    first: u32,
    rows: u32,
    learning_rate: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
// The derivatives of the loss by the inputs of the activations.
@group(0) @binding(3) var<storage, read_write> deltas: array<f32>;
@group(0) @binding(4) var<storage, read> pixels: array<f32>;
@group(0) @binding(5) var<storage, read> labels: array<u32>;
@group(0) @binding(6) var<storage, read> order: array<u32>;
// For each row the loss, and 1 if the likeliest class is correct, else 0.
@group(0) @binding(7) var<storage, read_write> results: array<vec2f>;
@group(1) @binding(0) var<uniform> batch: Batch;

const LINEAR = 0u;
const RELU = 1u;
const TANH = 2u;
const SIGMOID = 3u;

fn activate(x: f32, activation: u32) -> f32 {
    switch activation {
        case RELU { return max(x, 0.0); }
        // Beyond 10, tanh is 1 to the last bit, but an implementation by exponentials may overflow.
        case TANH { return tanh(clamp(x, -10.0, 10.0)); }
        case SIGMOID { return 1.0 / (1.0 + exp(-x)); }
        default { return x; }
    }
}

// The derivative of the activation, computed from the activation's value.
fn slope(y: f32, activation: u32) -> f32 {
    switch activation {
        case RELU { return select(0.0, 1.0, y > 0.0); }
        case TANH { return 1.0 - y * y; }
        case SIGMOID { return y * (1.0 - y); }
        default { return 1.0; }
    }
}

// Copies the images of the batch to the inputs of the first layer. One invocation copies one pixel.
@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3u) {
    let row = id.x / layer.inputs;
    if row >= batch.rows {
        return;
    }
    let image = order[batch.first + row];
    values[layer.below + id.x] = pixels[image * layer.inputs + id.x % layer.inputs];
}

// All three matrix products work the same way. An invocation computes a tile of SIDE rows by SIDE columns of
// the result, so that it loads two numbers for SIDE products. Beyond the edge of a matrix it loads unrelated
// numbers, which only affect elements that are not stored.
const SIDE = 4u;

// Returns the first row and column of an invocation's tile. The row may be beyond the last one.
fn tile(invocation: u32, columns: u32) -> vec2u {
    let across = (columns + SIDE - 1u) / SIDE;
    return SIDE * vec2u(invocation / across, invocation % across);
}

// Returns the product of each row with each column: component i of column j is rows[i] * columns[j].
fn outer_product(rows: vec4f, columns: vec4f) -> mat4x4f {
    return mat4x4f(rows * columns.x, rows * columns.y, rows * columns.z, rows * columns.w);
}

fn parameters4(at: u32, stride: u32) -> vec4f {
    return vec4f(
        parameters[at], parameters[at + stride], parameters[at + 2u * stride], parameters[at + 3u * stride]
    );
}

fn values4(at: u32, stride: u32) -> vec4f {
    return vec4f(values[at], values[at + stride], values[at + 2u * stride], values[at + 3u * stride]);
}

fn deltas4(at: u32, stride: u32) -> vec4f {
    return vec4f(deltas[at], deltas[at + stride], deltas[at + 2u * stride], deltas[at + 3u * stride]);
}

// Computes the outputs: [rows, inputs] times [inputs, outputs], plus the biases.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let first = tile(id.x, layer.outputs);
    if first.x >= batch.rows {
        return;
    }
    var sums = outer_product(vec4f(1), parameters4(layer.bias + first.y, 1u));
    for (var i = 0u; i < layer.inputs; i++) {
        let x = values4(layer.below + first.x * layer.inputs + i, layer.inputs);
        sums += outer_product(x, parameters4(layer.weight + i * layer.outputs + first.y, 1u));
    }
    for (var column = first.y; column < min(first.y + SIDE, layer.outputs); column++) {
        for (var row = first.x; row < min(first.x + SIDE, batch.rows); row++) {
            let y = activate(sums[column - first.y][row - first.x], layer.activation);
            values[layer.above + row * layer.outputs + column] = y;
        }
    }
}

// Computes the cross-entropy of the softmax of the last layer's outputs, and its derivative. One invocation
// takes one row.
@compute @workgroup_size(64)
fn cross_entropy(@builtin(global_invocation_id) id: vec3u) {
    let row = id.x;
    if row >= batch.rows {
        return;
    }
    let begin = layer.above + row * layer.outputs;
    let label = labels[order[batch.first + row]];
    var likeliest = 0u;
    for (var k = 1u; k < layer.outputs; k++) {
        if values[begin + k] > values[begin + likeliest] {
            likeliest = k;
        }
    }
    // The largest output is subtracted first, so that no exponential overflows.
    let largest = values[begin + likeliest];
    var sum = 0.0;
    for (var k = 0u; k < layer.outputs; k++) {
        sum += exp(values[begin + k] - largest);
    }
    for (var k = 0u; k < layer.outputs; k++) {
        let probability = exp(values[begin + k] - largest) / sum;
        let wanted = select(0.0, 1.0, k == label);
        deltas[begin + k] = (probability - wanted) / f32(batch.rows);
    }
    let loss = log(sum) + largest - values[begin + label];
    results[row] = vec2f(loss, select(0.0, 1.0, likeliest == label));
}

// Computes the derivatives by the inputs: [rows, outputs] times the transposed weights.
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3u) {
    let first = tile(id.x, layer.inputs);
    if first.x >= batch.rows {
        return;
    }
    var sums = mat4x4f();
    for (var k = 0u; k < layer.outputs; k++) {
        let delta = deltas4(layer.above + first.x * layer.outputs + k, layer.outputs);
        let weight = parameters4(layer.weight + first.y * layer.outputs + k, layer.outputs);
        sums += outer_product(delta, weight);
    }
    for (var i = first.y; i < min(first.y + SIDE, layer.inputs); i++) {
        for (var row = first.x; row < min(first.x + SIDE, batch.rows); row++) {
            let at = layer.below + row * layer.inputs + i;
            deltas[at] = sums[i - first.y][row - first.x] * slope(values[at], layer.activation_below);
        }
    }
}

// Computes the derivatives by the parameters, [inputs + 1, outputs], and takes the gradient step. The biases
// are the weights of one additional input, which is always 1.
@compute @workgroup_size(64)
fn update(@builtin(global_invocation_id) id: vec3u) {
    let first = tile(id.x, layer.outputs);
    if first.x > layer.inputs {
        return;
    }
    let is_bias = vec4u(first.x) + vec4u(0, 1, 2, 3) == vec4u(layer.inputs);
    var sums = mat4x4f();
    for (var row = 0u; row < batch.rows; row++) {
        let x = values4(layer.below + row * layer.inputs + first.x, 1u);
        let delta = deltas4(layer.above + row * layer.outputs + first.y, 1u);
        sums += outer_product(select(x, vec4f(1), is_bias), delta);
    }
    for (var column = first.y; column < min(first.y + SIDE, layer.outputs); column++) {
        for (var i = first.x; i < min(first.x + SIDE, layer.inputs + 1u); i++) {
            let gradient = sums[column - first.y][i - first.x];
            parameters[layer.weight + i * layer.outputs + column] -= batch.learning_rate * gradient;
        }
    }
}

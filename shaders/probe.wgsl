// The probe: whether a device keeps to the rules of WGSL that `float_value` of value.wgsl rests on.
// Needs value.wgsl. Host side: src/gpu/probe.rs, which compares what comes back with integers.

struct Trial {
    p: vec4<i32>,
    // A power of two; the other lanes fill the 16 bytes.
    power: vec4<f32>,
}

@group(0) @binding(0) var<storage, read> trials: array<Trial>;
@group(0) @binding(1) var<storage, read_write> seen: array<vec4<u32>>;

@compute @workgroup_size(64)
fn probe(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&trials)) {
        let trial = trials[id.x];
        seen[id.x] = float_value(trial.p, trial.power.x);
    }
}

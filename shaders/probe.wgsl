// The probe: runs `float_value` of value.wgsl, to find devices that break the rules of WGSL that make it
// exact. Needs value.wgsl. Host side: src/gpu/probe.rs, which compares the results with integer arithmetic.

struct Trial {
    p: vec4<i32>,
    // A power of two in x. The other lanes pad it to 16 bytes.
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

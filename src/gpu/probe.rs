//! Whether a device's floats are exact where WGSL says that they are: conversions of whole numbers
//! of 24 bits, and their products with powers of two. A device that breaks the rule makes values in
//! integers, with the same bits.

use crate::kernel::value::{FLOAT_EXPONENTS, cut, power, value};

/// Exponents that are tried: both ends, those of everyday weights, and 0, which is the conversion
/// alone.
const EXPONENTS: [i32; 8] = [
    *FLOAT_EXPONENTS.start(),
    -64,
    -33,
    -30,
    -24,
    0,
    1,
    *FLOAT_EXPONENTS.end(),
];

/// `struct Trial` of `shaders/probe.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Trial {
    p: [i32; 4],
    power: [f32; 4],
}

/// The text of the probe's shader, the entry point of which is `probe`.
pub(super) const SHADER: &str = concat!(
    include_str!("../../shaders/value.wgsl"),
    include_str!("../../shaders/probe.wgsl")
);

/// Whole numbers with both neighbours of every power of two, either sign, and long significands.
fn numbers() -> Vec<i32> {
    let mut numbers = vec![0, 0x00aa_aaaa, 0x0055_5555, 0x0fff_fff0, 0x0aaa_aaa0];
    for bit in 0..28 {
        let power = 1 << bit;
        numbers.extend([power, cut(power - 1), cut(power + 1)]);
    }
    numbers.extend(numbers.clone().iter().map(|p| -p));
    numbers.resize(numbers.len().next_multiple_of(4), 0);
    numbers
}

fn trials() -> impl Iterator<Item = (Trial, i32)> {
    let numbers = numbers();
    EXPONENTS.into_iter().flat_map(move |exponent| {
        let trial = move |p: &[i32; 4]| {
            let trial = Trial {
                p: *p,
                power: [power(exponent), 0.0, 0.0, 0.0],
            };
            (trial, exponent)
        };
        let (groups, _) = numbers.as_chunks::<4>();
        groups.iter().map(trial).collect::<Vec<_>>()
    })
}

/// The contents of the buffer of trials; the answers take half as many bytes.
pub(super) fn contents() -> Vec<u8> {
    let trials: Vec<Trial> = trials().map(|(trial, _)| trial).collect();
    bytemuck::cast_slice(&trials).to_vec()
}

/// Workgroups of 64 trials.
pub(super) fn workgroups(contents: &[u8]) -> u32 {
    (contents.len() / size_of::<Trial>()).div_ceil(64) as u32
}

/// Whether a device's answers are those of the integers.
pub(super) fn is_exact(answers: &[u8]) -> bool {
    let expected = trials()
        .flat_map(|(trial, exponent)| trial.p.map(|p| value(p, exponent).to_le_bytes()))
        .flatten();
    expected.eq(answers.iter().copied())
}

#[cfg(feature = "gpu")]
pub(super) use on_device::run;

#[cfg(feature = "gpu")]
mod on_device {
    use crate::error::{Error, Result};
    use crate::gpu::initializer::upload;
    use crate::gpu::map::read;
    use crate::gpu::pipeline::layout_entry;
    use crate::gpu::scope::checked;

    fn context() -> String {
        "probing the device's floats".to_owned()
    }

    /// Runs the probe with a shader's text.
    pub async fn run(device: &wgpu::Device, queue: &wgpu::Queue, text: &str) -> Result<bool> {
        let contents = super::contents();
        let answers = checked(device, context, || submit(device, queue, text, &contents))?;
        let answers = answers.map_err(|detail| Error::Device {
            context: context(),
            detail,
        })?;
        let mut seen = vec![0; contents.len() / 2];
        read(device, queue, &answers, 0, &mut seen).await?;
        Ok(super::is_exact(&seen))
    }

    fn submit(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        text: &str,
        contents: &[u8],
    ) -> Result<wgpu::Buffer, String> {
        let label = Some("fanin probe");
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &[
                layout_entry(0, storage(true), false, 0),
                layout_entry(1, storage(false), false, 0),
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label,
                source: wgpu::ShaderSource::Wgsl(text.into()),
            }),
            entry_point: Some("probe"),
            compilation_options: Default::default(),
            cache: None,
        });
        let usage = wgpu::BufferUsages::STORAGE;
        let trials = upload(device, "fanin probe", contents, usage)?;
        let answers = device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size: contents.len() as u64 / 2,
            usage: usage | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &layout,
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: trials.as_entire_binding(),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: answers.as_entire_binding(),
                },
            ],
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(super::workgroups(contents), 1, 1);
        drop(pass);
        queue.submit([encoder.finish()]);
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(value: impl Fn(i32, i32) -> u32) -> Vec<u8> {
        let bits = trials().flat_map(|(trial, exponent)| trial.p.map(|p| value(p, exponent)));
        bits.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn floats_of_ieee_754_pass_and_others_do_not() {
        let float = |p: i32, exponent: i32| p as f32 * (exponent as f32).exp2();
        assert!(is_exact(&answers(|p, e| float(p, e).to_bits())));
        // The sign of a zero, a significand a bit short, flushed small numbers, an early infinity.
        assert!(!is_exact(&answers(
            |p, e| (0.0 - float(-p, e)).to_bits() | u32::from(p == 0) << 31
        )));
        assert!(!is_exact(&answers(|p, e| float(p & !1, e).to_bits())));
        assert!(!is_exact(&answers(|p, e| float(
            if e < -120 { 0 } else { p },
            e
        )
        .to_bits())));
        assert!(!is_exact(&answers(|p, e| {
            (float(p, e) * 2.0f32.powi(2) / 4.0).to_bits()
        })));
        assert!(!is_exact(&[]));
    }

    /// A shader that breaks the rule on purpose, on every adapter of the machine.
    #[test]
    #[cfg(feature = "gpu")]
    fn a_device_that_rounds_its_own_way_is_found() {
        if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") {
            println!("FANIN_TEST_NO_GPU=1: no device is probed");
            return;
        }
        let devices = crate::gpu::Gpu::headless_all(&Default::default());
        assert!(!devices.is_empty(), "no GPU driver");
        for gpu in devices {
            let gpu = gpu.unwrap();
            let probe =
                |text: &str| pollster::block_on(run(gpu.device(), gpu.queue(), text)).unwrap();
            assert!(probe(SHADER), "{:?}", gpu.info());
            let exact = "vec4<f32>(p) * power";
            assert_eq!(SHADER.matches(exact).count(), 1);
            for broken in [
                "(vec4<f32>(p) * power) * 1.0000001",
                "vec4<f32>(p & vec4<i32>(-2)) * power",
                "vec4<f32>(p + vec4<i32>(1)) * power",
            ] {
                assert!(!probe(&SHADER.replace(exact, broken)), "{broken}");
            }
        }
    }
}

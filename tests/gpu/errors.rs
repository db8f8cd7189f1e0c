//! Errors of the GPU fill: the message is one line, nothing is recorded or written, and nothing panics.

use fanin::gpu::{Gpu, Initializer, InitializerOptions, Options, Target};
use fanin::{DType, Error, Fill, Init, Recipe, Tensor, TensorList, cpu};

use crate::devices::devices;
use crate::own_devices::{adapter_of, open, read};

fn fill(elements: u64) -> Fill {
    let tensor = Tensor::new("encoder.weight", [elements]).unwrap();
    Fill::new(&tensor, &Init::normal(0.0, 1.0), 1).unwrap()
}

fn buffer(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// Records on a new encoder, which must stay usable after an error.
fn record(gpu: &Gpu, fill: &Fill, buffer: &wgpu::Buffer, offset: u64) -> fanin::Result<()> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let result = gpu.initializer().fill(&mut encoder, fill, buffer, offset);
    gpu.queue().submit([encoder.finish()]);
    result
}

fn assert_one_line(error: &Error, parts: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    for part in parts {
        assert!(line.contains(part), "{line:?} does not say {part:?}");
    }
}

#[test]
fn a_buffer_without_storage_usage() {
    for (_, gpu) in devices() {
        let buffer = buffer(gpu.device(), 400, wgpu::BufferUsages::COPY_DST);
        let error = record(&gpu, &fill(100), &buffer, 0).unwrap_err();
        assert!(matches!(error, Error::BufferUsage { .. }));
        assert_one_line(&error, &["encoder.weight", "STORAGE"]);
    }
}

#[test]
fn a_buffer_that_is_too_small() {
    for (_, gpu) in devices() {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let buffer = buffer(gpu.device(), 400, usage);
        record(&gpu, &fill(100), &buffer, 0).unwrap();
        let mut before = vec![0; 400];
        gpu.read(&buffer, 0, &mut before).unwrap();
        for (elements, offset) in [
            (101, 0),
            (100, 1),
            (1, 100),
            (1, u64::MAX),
            (1, u64::MAX / 4),
        ] {
            let error = record(&gpu, &fill(elements), &buffer, offset).unwrap_err();
            assert!(matches!(error, Error::BufferTooSmall { .. }), "{error:?}");
            assert_one_line(&error, &["encoder.weight", "400"]);
        }
        let mut after = vec![0; 400];
        gpu.read(&buffer, 0, &mut after).unwrap();
        assert_eq!(before, after);
    }
}

/// The fill writes 32 bits at a time, so the buffer must hold the whole last word.
#[test]
fn a_16_bit_fill_needs_whole_words() {
    for (_, gpu) in devices() {
        let odd = fill(3).with_dtype(DType::BF16);
        let short = buffer(gpu.device(), 4, wgpu::BufferUsages::STORAGE);
        let error = record(&gpu, &odd, &short, 0).unwrap_err();
        assert!(matches!(
            error,
            Error::BufferTooSmall {
                needed: 8,
                available: 4,
                ..
            }
        ));
        let enough = buffer(gpu.device(), 8, wgpu::BufferUsages::STORAGE);
        record(&gpu, &odd, &enough, 0).unwrap();
    }
}

/// The two devices belong to one instance, because wgpu does not detect a buffer of another instance: each
/// instance has numbers of its own for its objects.
#[test]
fn a_buffer_of_another_device() {
    for (_, gpu) in devices() {
        let adapter = adapter_of(&gpu);
        let open = || open(&adapter, adapter.limits());
        let ((device, queue), (other, _)) = (open(), open());
        let initializer = Initializer::new(&device, &queue).unwrap();
        let foreign = buffer(&other, 400, wgpu::BufferUsages::STORAGE);
        let mut encoder = device.create_command_encoder(&Default::default());
        let error = initializer
            .fill(&mut encoder, &fill(100), &foreign, 0)
            .unwrap_err();
        queue.submit([encoder.finish()]);
        assert!(matches!(error, Error::Device { .. }), "{error:?}");
        assert_one_line(&error, &["encoder.weight", "evice"]);
    }
}

#[test]
fn a_queue_of_another_device() {
    for (name, gpu) in devices() {
        let adapter = adapter_of(&gpu);
        let open = || open(&adapter, adapter.limits());
        let ((device, queue), (_, other)) = (open(), open());
        let initializer = Initializer::new(&device, &queue).unwrap();
        let own = buffer(&device, 400, wgpu::BufferUsages::STORAGE);
        let refused = |result: fanin::Result<()>| {
            let error = result.expect_err(&name);
            assert!(matches!(error, Error::Device { .. }), "{error:?}");
            assert_one_line(
                &error,
                &["encoder.weight", "queue belongs to another device"],
            );
        };
        let matrix = Tensor::new("encoder.weight", [10, 10]).unwrap();
        let orthogonal = Fill::new(&matrix, &Init::orthogonal(), 1).unwrap();
        for fill in [fill(100), orthogonal] {
            refused(initializer.submit(&other, &fill, &own, 0).map(drop));
            let targets = [Target::new(&fill, &own, 0)];
            refused(initializer.submit_all(&other, &targets).map(drop));
        }
        let tensors = TensorList::of_shapes([("encoder.weight", vec![10, 10])]).unwrap();
        let recipe = Recipe::preset("kaiming").unwrap();
        let plan = recipe.resolve(&tensors, Some(1), None).unwrap();
        let usage = wgpu::BufferUsages::COPY_SRC;
        refused(initializer.fill_plan(&other, &plan, usage).map(drop));
        // A clone is the same queue.
        initializer
            .submit(&queue.clone(), &fill(100), &own, 0)
            .unwrap();
    }
}

/// wgpu compares queues by numbers that each instance counts anew, so the first queue of another instance
/// counts as the own one. The fill must then go to the own one.
#[test]
fn a_queue_of_another_instance() {
    for (name, gpu) in devices() {
        let (adapter, elsewhere) = (adapter_of(&gpu), adapter_of(&gpu));
        let (device, queue) = open(&adapter, adapter.limits());
        let (_other, foreign) = open(&elsewhere, elsewhere.limits());
        let initializer = Initializer::new(&device, &queue).unwrap();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let own = buffer(&device, 400, usage);
        match initializer.submit(&foreign, &fill(100), &own, 0) {
            Err(error) => assert_one_line(&error, &["queue belongs to another device"]),
            Ok(_) => {
                let mut expected = vec![0; 400];
                cpu::fill(&fill(100), &mut expected).unwrap();
                assert_eq!(read(&device, &queue, &own), expected, "{name}");
            }
        }
    }
}

#[test]
fn a_lost_device() {
    for (name, gpu) in devices() {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let buffer = buffer(gpu.device(), 400, usage);
        gpu.device().destroy();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let error = gpu
            .initializer()
            .fill(&mut encoder, &fill(100), &buffer, 0)
            .expect_err(&name);
        assert_one_line(&error, &["encoder.weight", "lost"]);
        let error = gpu.fill_buffer(&fill(100)).expect_err(&name);
        assert_one_line(&error, &["encoder.weight", "lost"]);
        let mut out = [0; 400];
        let error = gpu
            .fill_range_to_host(&fill(100), 0, &mut out)
            .expect_err(&name);
        assert_one_line(&error, &["encoder.weight", "lost"]);
        assert!(gpu.read(&buffer, 0, &mut out).is_err());
    }
}

#[test]
fn more_memory_than_there_is() {
    for (name, gpu) in devices() {
        let tensor = Tensor::new("huge", [1u64 << 46]).unwrap();
        let huge = Fill::new(&tensor, &Init::ones(), 0).unwrap();
        let error = gpu.fill_buffer(&huge).expect_err(&name);
        assert_one_line(&error, &["huge"]);
    }
}

#[test]
fn options_that_the_device_cannot_meet() {
    for (_, gpu) in devices() {
        let refuse = |options: InitializerOptions, part: &str| {
            let error = Initializer::with_options(gpu.device(), gpu.queue(), &options).unwrap_err();
            assert_one_line(&error, &[part]);
        };
        for workgroup_size in [0, 1 << 20] {
            let options = InitializerOptions {
                workgroup_size: Some(workgroup_size),
                ..Default::default()
            };
            refuse(options, "workgroup");
        }
        let options = InitializerOptions {
            max_binding_size: Some(8),
            ..Default::default()
        };
        refuse(options, "binding size is 8 bytes");
        if !gpu
            .device()
            .features()
            .contains(wgpu::Features::SHADER_INT64)
        {
            let options = InitializerOptions {
                int64: Some(true),
                ..Default::default()
            };
            refuse(options, "SHADER_INT64");
        }
    }
}

#[test]
fn an_adapter_that_is_not_there() {
    let options = Options {
        adapter: Some("no such adapter".into()),
        ..Default::default()
    };
    let error = Gpu::headless(&options).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }));
    assert_one_line(&error, &["no such adapter"]);
}

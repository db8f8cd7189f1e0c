//! Buffers for the tensors of a whole plan.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::recipe::{Plan, PlanEntry};

use super::device::scope::new_buffer;
use super::initializer::{Initializer, Target};

impl Initializer {
    /// Makes a buffer for each tensor of a plan, and submits the fills of all of them together. Tensors
    /// that are tied share a buffer.
    ///
    /// A buffer has [`Fill::buffer_size`](crate::Fill::buffer_size) bytes, and the usage `STORAGE` besides those that are given.
    ///
    /// ```
    /// use fanin::{Recipe, TensorList, gpu, wgpu::BufferUsages};
    ///
    /// # fn main() -> fanin::Result<()> {
    /// # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
    /// # let own = gpu::Gpu::headless(&gpu::Options::default())?;
    /// # let (device, queue) = (own.device(), own.queue());
    /// let shapes = [("0.weight", vec![128, 784]), ("0.bias", vec![128])];
    /// let plan = Recipe::preset("kaiming")?.resolve(&TensorList::of_shapes(shapes)?, Some(42), None)?;
    /// let initializer = gpu::Initializer::new(device, queue)?;
    /// let buffers = initializer.fill_plan(queue, &plan, BufferUsages::COPY_SRC)?;
    /// assert_eq!(buffers["0.weight"].size(), 4 * 128 * 784);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`submit_all`](Initializer::submit_all), and
    /// [`Error::Device`](crate::Error::Device) if the device has no room for a buffer.
    pub fn fill_plan(
        &self,
        queue: &wgpu::Queue,
        plan: &Plan,
        usage: wgpu::BufferUsages,
    ) -> Result<BTreeMap<String, wgpu::Buffer>> {
        let (tied, own): (Vec<_>, Vec<_>) = plan
            .entries
            .iter()
            .partition(|entry| entry.tied_to.is_some());
        let new = |entry: &&PlanEntry| {
            let fill = &entry.fill;
            let buffer = new_buffer(&self.device.wgpu, fill, fill.bytes(), usage)?;
            Ok((fill.name().to_owned(), buffer))
        };
        let mut buffers: BTreeMap<_, _> = own.iter().map(new).collect::<Result<_>>()?;
        let targets: Vec<_> = own
            .iter()
            .map(|entry| Target::new(&entry.fill, &buffers[entry.fill.name()], 0))
            .collect();
        self.submit_all(queue, &targets)?;
        for entry in tied {
            // A plan ties tensors only to tensors that it has, and that are not tied themselves.
            let owner = entry.tied_to.as_ref().and_then(|owner| buffers.get(owner));
            if let Some(buffer) = owner.cloned() {
                buffers.insert(entry.fill.name().to_owned(), buffer);
            }
        }
        Ok(buffers)
    }
}

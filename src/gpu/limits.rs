//! The limits of a device that matter to fills.

use crate::error::{Error, Result};

/// The limits of a device that cut a fill into dispatches. No bit depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `maxStorageBufferBindingSize`, in bytes.
    pub binding_size: u64,
    /// `minStorageBufferOffsetAlignment`, in bytes.
    pub binding_alignment: u64,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// True if the device has passed the [`Probe`](super::raw::Probe), so its floats are as exact as
    /// WGSL says. Otherwise values are made in integers, which takes longer and gives the same bits.
    pub exact_floats: bool,
}

impl Default for Limits {
    /// Returns the limits that every WebGPU device offers, before it has passed the probe.
    fn default() -> Limits {
        Limits {
            binding_size: 128 << 20,
            binding_alignment: 256,
            workgroup_size: 256,
            exact_floats: false,
        }
    }
}

impl Limits {
    /// Checks that fills can be cut to these limits.
    pub(super) fn check(self) -> Result<()> {
        let refuse = |detail| {
            Err(Error::Device {
                context: "cutting a fill into dispatches".into(),
                detail,
            })
        };
        let Limits {
            binding_size,
            binding_alignment,
            workgroup_size,
            exact_floats: _,
        } = self;
        if binding_alignment == 0 || binding_alignment % 4 != 0 {
            return refuse(format!(
                "the binding alignment is {binding_alignment} bytes: it must be a multiple of 4"
            ));
        }
        // A binding can start almost one alignment before the first element.
        if binding_size % 4 != 0 || binding_size < 2 * binding_alignment {
            return refuse(format!(
                "the binding size is {binding_size} bytes: it must be a multiple of 4 of at least {}",
                2 * binding_alignment
            ));
        }
        if workgroup_size == 0 {
            return refuse("the workgroup size is 0: it must be at least 1".into());
        }
        Ok(())
    }
}

//! The WebAssembly interface for `fanin.js`: requests, plans and fills of the crate `fanin` for JavaScript values.
//! Nothing is decided here. JavaScript's numbers are checked, and errors are thrown as `Error` with the crate's
//! message.

mod expected;
mod read;
mod tables;

use fanin::checkpoint::parse_tensor_list;
use fanin::gpu::raw;
use fanin::init::{CATALOGUE, DistributionKind};
use fanin::{DType, FillPart, Recipe, cpu};
use js_sys::{Array, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;

use read::{Object, whole};

/// The result of an exported function. JavaScript gets the error as an exception.
type Result<T> = std::result::Result<T, JsError>;

/// The most elements of an orthogonal matrix. It is made in binary64 with several copies, so a larger one would not
/// fit the 4 GiB of a module's memory.
const MAX_MATRIX: u64 = 1 << 26;

/// One tensor, or a slice of it: a checked request.
#[wasm_bindgen]
pub struct Fill(fanin::Fill);

#[wasm_bindgen]
impl Fill {
    /// Reads a request.
    #[wasm_bindgen(constructor)]
    pub fn new(request: &JsValue) -> Result<Fill> {
        read::request(request).map(Fill)
    }

    /// Returns the description of the request as a plain object.
    pub fn describe(&self) -> Object {
        describe(&self.0)
    }

    /// Makes the elements from `start` on, as many as `out` holds.
    pub fn make(&self, start: f64, out: &mut [u8]) -> Result<()> {
        if let DistributionKind::Orthogonal { rows, columns, .. } = *self.0.distribution().kind()
            && rows.saturating_mul(columns) > MAX_MATRIX
        {
            return Err(JsError::new(&format!(
                "tensor {:?}: an orthogonal matrix of {rows} x {columns} does not fit the memory of \
                 WebAssembly: it must have at most {MAX_MATRIX} elements",
                self.0.name()
            )));
        }
        Ok(cpu::fill_range(&self.0, whole(start, "start")?, out)?)
    }

    /// Returns the lower and the upper end of a histogram of the elements.
    pub fn bounds(&self) -> Vec<f64> {
        expected::bounds(self.0.distribution()).to_vec()
    }

    /// Returns the expected share of the elements in each of `bins` bins between two bounds, or `None` if elements
    /// depend on their place.
    pub fn expected(&self, low: f64, high: f64, bins: usize) -> Option<Vec<f64>> {
        expected::shares(self.0.distribution(), low, high, bins)
    }

    /// Adds elements, given as bytes, to the counts of the bins between two bounds.
    pub fn count(&self, bytes: &[u8], low: f64, high: f64, counts: &mut [u32]) {
        expected::count(self.0.dtype(), bytes, low, high, counts);
    }
}

fn describe(fill: &fanin::Fill) -> Object {
    let dims = |dims: &[u64]| {
        dims.iter()
            .map(|&dim| JsValue::from(dim as f64))
            .collect::<Array>()
    };
    let parts = fill.parts().iter().map(FillPart::distribution);
    let mut distributions = std::iter::once(fill.distribution()).chain(parts);
    let on_gpu = matches!(fill.dtype(), DType::F32 | DType::F16 | DType::BF16)
        && !distributions.any(|distribution| {
            use DistributionKind::{Kept, Orthogonal};
            matches!(distribution.kind(), Orthogonal { .. } | Kept)
        });
    read::object(&[
        ("name", fill.name().into()),
        ("shape", dims(fill.shape().dims()).into()),
        ("local", dims(&fill.local().dims()).into()),
        ("dtype", fill.dtype().to_string().into()),
        ("seed", fill.seed().into()),
        ("stream", fill.stream().into()),
        ("distribution", fill.distribution().to_string().into()),
        ("elements", (fill.elements() as f64).into()),
        ("bytes", (fill.bytes() as f64).into()),
        ("onGpu", on_gpu.into()),
    ])
}

/// A recipe resolved for a list of tensors.
#[wasm_bindgen]
pub struct Plan(fanin::Plan);

#[wasm_bindgen]
impl Plan {
    /// Resolves a preset, or the text of a recipe, for a tensor list in JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(
        recipe: &str,
        is_text: bool,
        tensors: &str,
        seed: &JsValue,
        dtype: Option<String>,
    ) -> Result<Plan> {
        let recipe = if is_text {
            Recipe::from_toml(recipe)?
        } else {
            Recipe::preset(recipe)?
        };
        let tensors = parse_tensor_list(tensors.as_bytes())?;
        let seed = read::optional(seed)
            .map(|seed| read::seed(&seed, "seed"))
            .transpose()?;
        let dtype = dtype.map(|dtype| dtype.parse::<DType>()).transpose()?;
        Ok(Plan(recipe.resolve(&tensors, seed, dtype)?))
    }

    /// Returns the seed of all tensors whose rule has no seed of its own.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the tensors as plain objects.
    pub fn tensors(&self) -> Array {
        let entries = self.0.entries.iter().map(|entry| {
            let tensor = describe(&entry.fill);
            read::set(&tensor, "init", entry.init.to_string().into());
            if let Some(other) = &entry.tied_to {
                read::set(&tensor, "tiedTo", other.into());
            }
            tensor
        });
        entries.collect()
    }

    /// Returns the fill of a tensor, by its index in the list.
    pub fn fill(&self, index: usize) -> Option<Fill> {
        let entry = self.0.entries.get(index)?;
        Some(Fill(entry.fill.clone()))
    }
}

/// Fills with the places that they go to, for one submission to a device.
#[wasm_bindgen]
pub struct Targets {
    limits: raw::Limits,
    targets: Vec<(fanin::Fill, raw::Buffer, u64)>,
}

#[wasm_bindgen]
impl Targets {
    /// Starts with no fills, for a device with these limits. `exact_floats` is the result of its probe.
    #[wasm_bindgen(constructor)]
    pub fn new(
        binding_size: f64,
        binding_alignment: f64,
        workgroup_size: f64,
        exact_floats: bool,
    ) -> Result<Targets> {
        // A binding is a multiple of 4 bytes, but the limit of some drivers is not.
        let binding_size = whole(binding_size, "maxStorageBufferBindingSize")? / 4 * 4;
        let most = raw::Limits::default().workgroup_size;
        let workgroup_size = whole(workgroup_size, "the workgroup size")?.min(most.into());
        Ok(Targets {
            limits: raw::Limits {
                binding_size,
                binding_alignment: whole(binding_alignment, "minStorageBufferOffsetAlignment")?,
                workgroup_size: workgroup_size as u32,
                exact_floats,
            },
            targets: Vec::new(),
        })
    }

    /// Adds a fill that goes to element `offset` and following of a buffer.
    pub fn add(&mut self, fill: &Fill, number: usize, size: f64, offset: f64) -> Result<()> {
        let size = whole(size, "the size of the buffer")?;
        let offset = whole(offset, "offset")?;
        let buffer = raw::Buffer { number, size };
        self.targets.push((fill.0.clone(), buffer, offset));
        Ok(())
    }

    /// Returns the dispatches, in order, as plain objects.
    pub fn dispatches(&self) -> Result<Array> {
        tables::forget();
        let targets: Vec<raw::BufferFill<'_>> = self
            .targets
            .iter()
            .map(|(fill, buffer, offset)| raw::BufferFill {
                fill,
                buffer: *buffer,
                offset: *offset,
            })
            .collect();
        let dispatches = raw::dispatches_of_all(&targets, self.limits)?;
        Ok(dispatches.iter().map(plain).collect())
    }
}

fn plain(dispatch: &raw::Dispatch) -> Object {
    let constants = dispatch.constants.map(|(name, value)| (name, value.into()));
    let [x, y] = dispatch.grid;
    read::object(&[
        ("many", dispatch.many.into()),
        ("entryPoint", dispatch.entry_point.into()),
        ("constants", read::object(&constants).into()),
        ("buffer", (dispatch.buffer as f64).into()),
        ("bindingOffset", (dispatch.binding_offset as f64).into()),
        ("bindingSize", (dispatch.binding_size as f64).into()),
        ("request", Uint8Array::from(&dispatch.request[..]).into()),
        ("table", tables::number(&dispatch.table).into()),
        (
            "grid",
            [x, y]
                .into_iter()
                .map(JsValue::from)
                .collect::<Array>()
                .into(),
        ),
    ])
}

/// Returns the contents of a table of the last dispatches, by its number.
#[wasm_bindgen]
pub fn table(number: u32) -> Option<Vec<u8>> {
    tables::contents(number)
}

/// Returns the text of the fill shader.
#[wasm_bindgen]
pub fn shader(many: bool) -> String {
    raw::shader(false, many).to_owned()
}

/// Returns the probe of a device's floats as a plain object.
#[wasm_bindgen]
pub fn probe() -> Object {
    let probe = raw::Probe::new();
    read::object(&[
        ("shader", probe.shader.into()),
        ("trials", Uint8Array::from(&probe.trials[..]).into()),
        ("workgroups", probe.workgroups.into()),
        ("answerBytes", (probe.answer_bytes() as f64).into()),
    ])
}

/// Returns true if a device's answers to the probe are exact.
#[wasm_bindgen]
pub fn is_exact(answers: &[u8]) -> bool {
    raw::Probe::new().is_exact(answers)
}

/// Returns the catalogue of initializers as plain objects.
#[wasm_bindgen]
pub fn initializers() -> Array {
    let entries = CATALOGUE.iter().map(|entry| {
        read::object(&[
            ("name", entry.name.into()),
            ("signature", entry.signature().into()),
            ("formula", entry.formula.into()),
            ("frameworks", entry.frameworks.into()),
            ("when", entry.when.into()),
        ])
    });
    entries.collect()
}

/// Returns the names of the presets.
#[wasm_bindgen]
pub fn presets() -> Vec<String> {
    Recipe::presets().map(str::to_owned).collect()
}

/// The SHA-256 of bytes that are added in pieces.
#[wasm_bindgen]
#[derive(Default)]
pub struct Hasher(Sha256);

#[wasm_bindgen]
impl Hasher {
    /// Starts with no bytes.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of the added bytes in hexadecimal.
    pub fn hex(&self) -> String {
        let hash = self.0.clone().finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

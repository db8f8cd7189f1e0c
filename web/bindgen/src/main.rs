//! `wasm-bindgen --target web`, with the version that Cargo.lock pins: fanin-web-bindgen MODULE.wasm FOLDER

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = |what| {
        arguments
            .next()
            .with_context(|| format!("{what} is missing"))
    };
    let (module, folder) = (next("MODULE.wasm")?, next("FOLDER")?);
    Bindgen::new()
        .input_path(module)
        .web(true)?
        // The types of the package are written by hand, in fanin.d.ts.
        .typescript(false)
        .generate(folder)
}

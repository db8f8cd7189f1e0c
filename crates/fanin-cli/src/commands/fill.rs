//! `fanin fill` initializes one tensor, or a slice of it.

use fanin::checkpoint::{Contents, Sources, Writer};
use fanin::{FanAxes, Fill, Init, STREAM_VERSION, Tensor};

use crate::Failure;
use crate::args::{Axes, FillArguments};
use crate::backend::Backend;
use crate::format::count;
use crate::model::narrowed;
use crate::output::{Output, write};

pub fn run(arguments: &FillArguments) -> Result<(), Failure> {
    let output = Output::parse(&arguments.out)?;
    let fills = [request(arguments).map_err(Failure::usage)?];
    let [fill] = &fills;
    let contents = match output {
        Output::Safetensors(_) => {
            if arguments.name.is_none() {
                return Err(Failure::Usage(
                    "a .safetensors file stores the tensor's name: give --name too".to_owned(),
                ));
            }
            let mut metadata = vec![
                ("format", "pt".to_owned()),
                ("fanin", env!("CARGO_PKG_VERSION").to_owned()),
                ("stream", STREAM_VERSION.to_string()),
                ("seed", arguments.seed.to_string()),
                ("init", arguments.init.trim().to_owned()),
            ];
            if let Some(stream) = arguments.stream {
                metadata.push(("stream_id", stream.to_string()));
            }
            if fill.elements() != fill.shape().elements() {
                metadata.push(("shape", fill.shape().to_string()));
                metadata.push(("slice", fill.local().to_string()));
            }
            Contents::safetensors(&fills, &metadata).map_err(Failure::usage)?
        }
        Output::Npy(_) => Contents::npy(fill).map_err(Failure::usage)?,
        Output::Raw(_) | Output::Stdout | Output::Null => Contents::raw(fill),
    };
    let backend = Backend::choose(&arguments.backend, 0)?;
    let what = count(fill.elements().into(), "element");
    write(
        &backend,
        &Writer::default().with_overwrite(arguments.overwrite),
        &output,
        &contents,
        &Sources::new(),
        &what,
    )
}

/// Returns the fill that the arguments describe.
fn request(arguments: &FillArguments) -> fanin::Result<Fill> {
    let name = match (&arguments.name, arguments.stream) {
        (Some(name), _) => name.clone(),
        // This name appears only in messages: `with_stream_id` below replaces its stream.
        (None, Some(stream)) => format!("stream {stream}"),
        (None, None) => String::new(),
    };
    let named = |error: fanin::Error| error.named(&name);
    let init: Init = arguments.init.parse().map_err(named)?;
    let mut tensor =
        Tensor::new(name.as_str(), arguments.shape.0.as_slice())?.with_layout(arguments.layout);
    tensor = tensor.with_groups(arguments.groups);
    if let Some(axes) = fan_axes(arguments) {
        tensor = tensor.with_fan_axes(axes);
    }
    if let Some(stream) = arguments.stream {
        tensor = tensor.with_stream_id(stream);
    }
    let fill = Fill::new(&tensor, &init, arguments.seed)?.with_dtype(arguments.dtype);
    fill.check()?;
    match &arguments.slice {
        Some(slice) => narrowed(fill, slice),
        None => Ok(fill),
    }
}

/// Returns the axes of the fans, if an argument names any. The defaults are those of recipes and of
/// `jax.nn.initializers.variance_scaling`.
fn fan_axes(arguments: &FillArguments) -> Option<FanAxes> {
    let (inputs, outputs, batch) = (
        &arguments.in_axis,
        &arguments.out_axis,
        &arguments.batch_axis,
    );
    if inputs.is_none() && outputs.is_none() && batch.is_none() {
        return None;
    }
    let list = |axes: &Option<Axes>, default: &[i64]| {
        let axes = axes.as_ref();
        axes.map_or_else(|| default.to_vec(), |axes| axes.0.clone())
    };
    Some(FanAxes {
        inputs: list(inputs, &[-2]),
        outputs: list(outputs, &[-1]),
        batch: list(batch, &[]),
    })
}

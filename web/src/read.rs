//! Checks and converts JavaScript values.

use fanin::{DType, Init, Layout, Slice, Tensor};
use js_sys::{Array, Reflect};
use wasm_bindgen::prelude::*;

use crate::Result;

pub use js_sys::Object;

/// The keys of a request.
const KEYS: [&str; 8] = [
    "name", "stream", "shape", "init", "seed", "dtype", "layout", "slice",
];

/// The largest n such that JavaScript's numbers represent every whole number up to n, 2^53 - 1.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Creates an object with these entries.
pub fn object(entries: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        set(&object, key, value.clone());
    }
    object
}

/// Sets an entry of an object.
pub fn set(object: &Object, key: &str, value: JsValue) {
    // It fails only for frozen objects and proxies, which these are not.
    let _ = Reflect::set(object, &key.into(), &value);
}

/// Returns the value, or `None` for undefined and null.
pub fn optional(value: &JsValue) -> Option<JsValue> {
    (!value.is_undefined() && !value.is_null()).then(|| value.clone())
}

/// Converts a whole number up to 2^53 - 1.
pub fn whole(value: f64, what: &str) -> Result<u64> {
    if (0.0..=MAX_SAFE_INTEGER).contains(&value) && value.fract() == 0.0 {
        return Ok(value as u64);
    }
    Err(JsError::new(&format!(
        "{what} = {value} is out of range: it must be a whole number from 0 to 2^53 - 1"
    )))
}

/// Converts a number of 64 bits, from a number or a bigint.
pub fn seed(value: &JsValue, what: &str) -> Result<u64> {
    let known = match value.as_f64() {
        Some(number) => whole(number, what).ok(),
        None if value.is_bigint() => u64::try_from(value.clone()).ok(),
        None => None,
    };
    known.ok_or_else(|| {
        JsError::new(&format!(
            "{what} = {} is out of range: it must be a whole number from 0 to 2^53 - 1, or a bigint \
             from 0n to 2n ** 64n - 1n",
            shown(value)
        ))
    })
}

/// Converts a request to its fill.
pub fn request(request: &JsValue) -> Result<fanin::Fill> {
    if !request.is_object() {
        return Err(wrong(
            "a request",
            "an object such as { name, shape, init, seed }",
            request,
        ));
    }
    let object = Object::from(request.clone());
    for key in Object::keys(&object) {
        let key = key.as_string().unwrap_or_default();
        if !KEYS.contains(&key.as_str()) {
            return Err(fanin::Error::Unknown {
                kind: "key of a request",
                value: key,
                accepted: format!("it can have {}", KEYS.join(", ")),
            }
            .into());
        }
    }
    let stream = get(request, "stream")?
        .map(|value| seed(&value, "stream"))
        .transpose()?;
    let name = match (text(request, "name")?, stream) {
        (Some(name), _) => name,
        // This name is only for messages, since the stream id is given.
        (None, Some(stream)) => format!("stream {stream}"),
        (None, None) => return Err(JsError::new("a request needs a name or a stream")),
    };
    let named = |error: fanin::Error| error.named(&name);
    let required = |key: &str| {
        get(request, key)?
            .ok_or_else(|| JsError::new(&format!("tensor {name:?}: a request needs {key}")))
    };
    let dims = numbers(&required("shape")?, "shape")?;
    let init = required("init")?;
    let init = init
        .as_string()
        .ok_or_else(|| wrong("init", "text", &init))?;
    let init: Init = init.parse().map_err(named)?;
    let seed = seed(&required("seed")?, "seed")?;

    let mut tensor = Tensor::new(name.as_str(), dims)?;
    if let Some(layout) = text(request, "layout")? {
        tensor = tensor.with_layout(layout.parse::<Layout>().map_err(named)?);
    }
    if let Some(stream) = stream {
        tensor = tensor.with_stream_id(stream);
    }
    let mut fill = fanin::Fill::new(&tensor, &init, seed)?;
    if let Some(dtype) = text(request, "dtype")? {
        let dtype: DType = dtype.parse().map_err(named)?;
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(JsError::new(&format!(
                "tensor {name:?}: dtype {dtype} is not made here: use f32, f16 or bf16"
            )));
        }
        fill = fill.with_dtype(dtype);
    }
    if let Some(slice) = get(request, "slice")? {
        fill = match slice.as_string() {
            Some(text) => {
                let slice = Slice::parse(&text, fill.shape()).map_err(named)?;
                fill.slice(slice)?
            }
            None => {
                let list = list(&slice, "slice")?;
                let ranges = list
                    .iter()
                    .map(|range| match numbers(&range, "slice")?[..] {
                        [start, end] => Ok(start..end),
                        _ => Err(wrong("a range of slice", "[start, end]", &range)),
                    });
                fill.slice(ranges.collect::<Result<Vec<_>>>()?)?
            }
        };
    }
    Ok(fill)
}

/// Returns the value of an object's key, or `None` for undefined and null.
fn get(object: &JsValue, key: &str) -> Result<Option<JsValue>> {
    let value = Reflect::get(object, &key.into())
        .map_err(|_| JsError::new(&format!("{key} of the request cannot be read")))?;
    Ok(optional(&value))
}

fn text(object: &JsValue, key: &str) -> Result<Option<String>> {
    let Some(value) = get(object, key)? else {
        return Ok(None);
    };
    let text = value
        .as_string()
        .ok_or_else(|| wrong(key, "text", &value))?;
    Ok(Some(text))
}

fn list(value: &JsValue, what: &str) -> Result<Array> {
    if Array::is_array(value) {
        return Ok(Array::from(value));
    }
    Err(wrong(what, "an array", value))
}

fn numbers(value: &JsValue, what: &str) -> Result<Vec<u64>> {
    let list = list(value, what)?;
    let numbers = list.iter().map(|number| match number.as_f64() {
        Some(number) => whole(number, what),
        None => Err(wrong(what, "whole numbers", &number)),
    });
    numbers.collect()
}

fn wrong(what: &str, expected: &str, value: &JsValue) -> JsError {
    JsError::new(&format!(
        "{what} is {}: it must be {expected}",
        shown(value)
    ))
}

/// Formats a value for a message, on one line.
fn shown(value: &JsValue) -> String {
    if let Some(number) = value.as_f64() {
        return number.to_string();
    }
    if let Some(text) = value.as_string() {
        return format!("{:?}", text.chars().take(100).collect::<String>());
    }
    if value.is_bigint() {
        // Converting a bigint to text cannot fail.
        let text = js_sys::BigInt::from(value.clone())
            .to_string(10)
            .map(String::from);
        return text
            .unwrap_or_default()
            .chars()
            .take(100)
            .chain(['n'])
            .collect();
    }
    value.js_typeof().as_string().unwrap_or_default()
}

//! Kept tensors: they are copied from their files to the bit, whole and in parts, in every dtype; without a file they
//! are passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fanin::checkpoint::{
    self, Contents, Make, Reader, Sources, Start, Weights, WithSources, Writer, silent,
};
use fanin::init::Distribution;
use fanin::{DType, Error, Fill, Init, Tensor, cpu};
use tempfile::TempDir;

/// Writes a safetensors file of these tensors, whose bytes are the numbers from `first` on.
fn source(path: &Path, first: u8, tensors: &[(&str, DType, &[u64])]) {
    let mut header = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape) in tensors {
        let start = data.len() as u64;
        let bytes = shape.iter().product::<u64>() * dtype.bits() / 8;
        data.extend((0..bytes).map(|i| (i.wrapping_mul(37) >> (i % 3)) as u8 ^ first));
        header.push(format!(
            r#""{name}":{{"dtype":"{}","shape":{shape:?},"data_offsets":[{start},{}]}}"#,
            dtype.safetensors_name(),
            start + bytes
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

fn kept(name: &str, dtype: DType, shape: &[u64]) -> Fill {
    let tensor = Tensor::new(name, shape).unwrap();
    Fill::from_distribution(&tensor, Distribution::kept(), 42).with_dtype(dtype)
}

fn stored(path: &Path, name: &str) -> Vec<u8> {
    let weights = Weights::open(path).unwrap();
    let tensor = weights.get(name).unwrap();
    let mut bytes = vec![0; (tensor.elements() * tensor.dtype().bits() / 8) as usize];
    Reader::new().read(tensor, 0, &mut bytes).unwrap();
    bytes
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn every_dtype_is_copied_to_the_bit() {
    let folder = Folder::new();
    let (old, new) = (
        folder.path("old.safetensors"),
        folder.path("new.safetensors"),
    );
    let names: Vec<String> = DType::ALL
        .iter()
        .map(|dtype| format!("t.{dtype}"))
        .collect();
    let tensors: Vec<(&str, DType, &[u64])> = names
        .iter()
        .zip(DType::ALL)
        .map(|(name, &dtype)| (name.as_str(), dtype, &[5u64, 300][..]))
        .collect();
    source(&old, 0, &tensors);
    // In another order, with a drawn tensor between, and in the dtype of f32: the file's is taken.
    let mut fills: Vec<Fill> = names
        .iter()
        .rev()
        .map(|name| kept(name, DType::F32, &[5, 300]))
        .collect();
    let drawn = Fill::new(
        &Tensor::new("w", [70, 70]).unwrap(),
        &Init::kaiming_normal(),
        1,
    )
    .unwrap();
    fills.insert(9, drawn.clone());
    let sources = Sources::of(Weights::open(&old).unwrap());
    sources.apply(&mut fills).unwrap();
    let contents = Contents::safetensors(&fills, &[]).unwrap();
    // Small pieces cut tensors, those of 4 and 6 bits included.
    let mut make = cpu::fill_range;
    let mut make = WithSources::new(&mut make, &sources);
    let writer = Writer::default().with_memory(1);
    writer
        .save(&new, &contents, &mut make, &mut silent)
        .unwrap();
    for (name, dtype, _) in &tensors {
        assert_eq!(stored(&new, name), stored(&old, name), "{name}");
        assert_eq!(
            Weights::open(&new).unwrap().get(name).unwrap().dtype(),
            *dtype
        );
    }
    let mut weights = vec![0; drawn.bytes() as usize];
    cpu::fill(&drawn, &mut weights).unwrap();
    assert_eq!(stored(&new, "w"), weights);
    // A second run finds it complete.
    let writer = writer.with_resume(true);
    writer
        .save(&new, &contents, &mut make, &mut silent)
        .unwrap();

    // With the file, verification compares them; without, it passes over them.
    let weights = Weights::open(&new).unwrap();
    let found = checkpoint::verify(&weights, &fills, &mut make, &mut silent).unwrap();
    assert!(found.is_same() && found.passed_over.is_empty());
    assert_eq!(found.bytes, weights.total_bytes());
    let found = checkpoint::verify(&weights, &fills, &mut cpu::fill_range, &mut silent).unwrap();
    assert!(found.is_same());
    assert_eq!(found.passed_over.len(), DType::ALL.len());
    assert_eq!((found.tensors.len(), found.bytes), (1, drawn.bytes()));
}

#[test]
fn a_changed_bit_is_found_at_its_element() {
    let folder = Folder::new();
    let (old, new) = (
        folder.path("old.safetensors"),
        folder.path("new.safetensors"),
    );
    for (dtype, index, text) in [
        (DType::I64, 3, "element [3] (3 in row-major order) is "),
        (DType::Bool, 5, "element [5] (5 in row-major order) is "),
        // The fourth byte holds elements 6 and 7.
        (DType::F4, 7, "element [7] (7 in row-major order) is 0x"),
        // Bits 24 to 29 of four bytes.
        (DType::F6E3M2, 5, "element [5] (5 in row-major order) is 0x"),
        (DType::C64, 2, "element [2] (2 in row-major order) is 0x"),
    ] {
        source(&old, 0, &[("t", dtype, &[8])]);
        let mut file = std::fs::read(&old).unwrap();
        let last_bit = (index + 1) * dtype.bits() as usize - 1;
        let data = file.len() - dtype.bits() as usize;
        file[data + last_bit / 8] ^= 1 << (last_bit % 8);
        std::fs::write(&new, file).unwrap();
        let sources = Sources::of(Weights::open(&old).unwrap());
        let mut make = cpu::fill_range;
        let mut make = WithSources::new(&mut make, &sources);
        let weights = Weights::open(&new).unwrap();
        let fills = [kept("t", dtype, &[8])];
        let found = checkpoint::verify(&weights, &fills, &mut make, &mut silent).unwrap();
        let (tensor, difference) = found.first_difference().unwrap();
        assert_eq!(
            (tensor.differing, difference.flat),
            (1, index as u64),
            "{dtype}"
        );
        assert!(difference.to_string().starts_with(text), "{difference}");
        assert!(serde_json::to_string(difference).is_ok());
    }
}

#[test]
fn parts_are_those_of_the_whole() {
    let folder = Folder::new();
    let old = folder.path("old.safetensors");
    source(
        &old,
        9,
        &[
            ("t", DType::I32, &[40, 30, 7]),
            ("codes", DType::F4, &[64, 10]),
        ],
    );
    let sources = Sources::of(Weights::open(&old).unwrap());
    let mut make = cpu::fill_range;
    let mut make = WithSources::new(&mut make, &sources);
    let whole = stored(&old, "t");
    let element = |i: usize| whole[4 * i..4 * i + 4].to_vec();
    let mut taken = |fill: &Fill, start: u64, elements: u64| {
        let mut out = vec![0; (elements * fill.dtype().bits() / 8) as usize];
        make.make(fill, start, &mut out).map(|()| out)
    };

    let fill = kept("t", DType::I32, &[40, 30, 7]);
    let columns = fill.clone().slice([2..39, 0..30, 3..4]).unwrap();
    let expected: Vec<u8> = (2..39)
        .flat_map(|a| (0..30).flat_map(move |b| [(a * 30 + b) * 7 + 3]))
        .flat_map(element)
        .collect();
    assert_eq!(taken(&columns, 0, columns.elements()).unwrap(), expected);
    assert_eq!(taken(&columns, 100, 33).unwrap(), expected[400..532]);
    let blocks = fill
        .clone()
        .blocks([[1..3, 0..30, 0..7], [20..21, 0..30, 0..7]])
        .unwrap();
    let expected = [&whole[4 * 210..4 * 630], &whole[4 * 4200..4 * 4410]].concat();
    assert_eq!(taken(&blocks, 0, 630).unwrap(), expected);
    let flat = fill.clone().flat(11..5000).unwrap();
    assert_eq!(taken(&flat, 0, 4989).unwrap(), whole[44..20_000]);
    // No more than there is.
    assert!(matches!(
        taken(&flat, 4900, 100),
        Err(Error::LengthMismatch { .. })
    ));
    let empty = fill.slice([3..3, 0..30, 0..7]).unwrap();
    assert!(taken(&empty, 0, 0).unwrap().is_empty());

    // Rows of 10 elements of 4 bits are whole bytes, an odd number of columns is not.
    let codes = kept("codes", DType::F4, &[64, 10]);
    let rows = codes.clone().slice([5..9, 0..10]).unwrap();
    assert_eq!(taken(&rows, 0, 40).unwrap(), stored(&old, "codes")[25..45]);
    let odd = codes.slice([0..64, 3..7]).unwrap();
    let error = sources.apply(&mut [odd.clone()]).unwrap_err().to_string();
    assert!(
        error.contains("do not begin and end at whole bytes: keep the whole tensor"),
        "{error}"
    );
    assert_eq!(
        taken(&odd, 0, odd.elements()).unwrap_err().to_string(),
        error
    );
}

#[test]
fn a_file_that_does_not_fit_is_refused_by_name() {
    let folder = Folder::new();
    let (old, other) = (
        folder.path("old.safetensors"),
        folder.path("other.safetensors"),
    );
    source(
        &old,
        0,
        &[("a", DType::I64, &[3]), ("b", DType::F32, &[2, 2])],
    );
    source(&other, 1, &[("a", DType::I64, &[3])]);
    let sources = Sources::of(Weights::open(&old).unwrap())
        .with_tensor("c", Arc::new(Weights::open(&other).unwrap()));
    for (fill, texts) in [
        (
            kept("b", DType::F32, &[4]),
            [
                "old.safetensors: tensor \"b\"",
                "has shape [2, 2], but is to be kept with shape [4]",
            ],
        ),
        (
            kept("d", DType::F32, &[4]),
            [
                "old.safetensors: tensor \"d\"",
                "lacks it: name another file, give it an init, or skip it",
            ],
        ),
        (
            kept("c", DType::F32, &[4]),
            ["other.safetensors: tensor \"c\"", "lacks it"],
        ),
    ] {
        let error = sources.apply(&mut [fill]).unwrap_err().to_string();
        for text in texts {
            assert!(error.contains(text), "{error}");
        }
    }
    let mut make = cpu::fill_range;
    let mut make = WithSources::new(&mut make, &sources);
    let error = make
        .make(&kept("a", DType::F64, &[3]), 0, &mut [0; 24])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has dtype i64, but is to be kept as f64"),
        "{error}"
    );
    assert!(matches!(
        Sources::new().apply(&mut [kept("a", DType::I64, &[3])]),
        Err(Error::Kept { .. })
    ));
    // A tensor's own file comes before that of the model.
    let sources = sources.with_tensor("a", Arc::new(Weights::open(&other).unwrap()));
    let mut make = cpu::fill_range;
    let mut make = WithSources::new(&mut make, &sources);
    let mut out = vec![0; 24];
    make.make(&kept("a", DType::I64, &[3]), 0, &mut out)
        .unwrap();
    assert_eq!(out, stored(&other, "a"));
    assert_ne!(out, stored(&old, "a"));
}

#[test]
fn comparisons_and_statistics_leave_kept_and_skipped_tensors_out() {
    let folder = Folder::new();
    let path = folder.path("trained.safetensors");
    source(
        &path,
        0,
        &[
            ("steps", DType::I64, &[]),
            ("mean", DType::F32, &[4]),
            ("codes", DType::U8, &[4]),
        ],
    );
    let trained = Weights::open(&path).unwrap();
    let fills = [
        kept("steps", DType::I64, &[]),
        kept("mean", DType::F32, &[4]),
    ];
    let skipped = ["codes".to_owned()];
    let found = checkpoint::verify_some(
        &trained,
        &fills,
        &skipped,
        &mut cpu::fill_range,
        &mut silent,
    );
    assert_eq!(found.unwrap().passed_over, ["steps", "mean", "codes"]);
    let start = Start::Fills(&fills, &mut cpu::fill_range);
    let diff = checkpoint::diff_some(start, &trained, &skipped, &mut silent).unwrap();
    assert_eq!(diff.not_compared, ["steps", "mean", "codes"]);
    assert!(diff.tensors.is_empty() && diff.only_in_trained.is_empty());
    // With the file, floats are compared.
    let sources = Sources::of(Weights::open(&path).unwrap());
    let mut make = cpu::fill_range;
    let mut make = WithSources::new(&mut make, &sources);
    let diff = checkpoint::diff(Start::Fills(&fills, &mut make), &trained, &mut silent).unwrap();
    assert_eq!(diff.tensors[0].name, "mean");
    assert_eq!(diff.tensors[0].change.untouched, 4);
    let rows = checkpoint::examine(&path, &fills).unwrap();
    assert!(rows.iter().all(|row| row.expected.is_none()));
    assert!(rows[1].stats.mean.is_some() && rows[0].stats.mean.is_none());
    assert!(trained.tensor_list().unwrap().has_weights());
    let list = checkpoint::parse_tensor_list(
        br#"{"tensors": [{"name": "a", "shape": [2], "dtype": "torch.int64"}]}"#,
    );
    assert!(!list.unwrap().has_weights());
}

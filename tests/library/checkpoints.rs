//! Files are complete or absent, the same to the byte each time, and readable by other programs.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use fanin::checkpoint::{
    self, Contents, Make, Progress, Reader, Shards, Weights, Writer, read_tensor_list, save,
    silent, stats, write_to,
};
use fanin::{DType, Error, Fill, Init, Tensor, cpu};
use safetensors::{Dtype, SafeTensors};
use tempfile::tempdir;

fn fill(name: &str, dims: &[u64], dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    Fill::new(&tensor, &Init::normal(0.0, 1.0), 42)
        .unwrap()
        .with_dtype(dtype)
}

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

fn in_memory(contents: &Contents<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_to(
        &mut out,
        "memory",
        contents,
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    out
}

#[test]
fn safetensors_files_are_read_by_the_safetensors_crate() {
    let fills = [
        fill("b\"\u{e9}\n", &[3, 5], DType::F16),
        fill("a", &[7], DType::F32),
        fill("scalar", &[], DType::BF16),
        fill("empty", &[4, 4], DType::F32)
            .slice([0..4, 2..2])
            .unwrap(),
        fill("part", &[100, 10], DType::BF16)
            .slice([50..53, 2..9])
            .unwrap(),
    ];
    let metadata = [("format", "pt".to_owned()), ("quote", "\"\n".to_owned())];
    let file = in_memory(&Contents::safetensors(&fills, &metadata).unwrap());
    let (header_bytes, header) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(header_bytes % 8, 0);
    assert_eq!(header.metadata().as_ref().unwrap()["quote"], "\"\n");
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.len(), fills.len());
    for fill in &fills {
        let view = read.tensor(fill.name()).unwrap();
        let dims: Vec<u64> = view.shape().iter().map(|&dim| dim as u64).collect();
        assert_eq!(dims, fill.local().dims());
        let dtype = match fill.dtype() {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => panic!("{other}"),
        };
        assert_eq!(view.dtype(), dtype);
        assert_eq!(view.data(), bytes(fill), "{}", fill.name());
        // Readers that map the file rely on this alignment.
        let offset = view.data().as_ptr() as usize - file.as_ptr() as usize;
        assert_eq!(offset as u64 % fill.dtype().size(), 0);
    }
}

#[test]
fn the_header_is_the_expected_text() {
    let fills = [fill("b", &[2, 3], DType::F16), fill("a", &[2], DType::F32)];
    let contents = Contents::safetensors(&fills, &[("seed", "42".to_owned())]).unwrap();
    let json = r#"{"__metadata__":{"seed":"42"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]}}"#;
    let text = std::str::from_utf8(&contents.header()[8..]).unwrap();
    assert_eq!(text.trim_end_matches(' '), json);
    assert_eq!(contents.header()[..8], (text.len() as u64).to_le_bytes());
    assert_eq!(contents.weight_bytes(), 20);
}

#[test]
fn a_tensor_larger_than_a_piece_is_whole() {
    // A piece is 32 MiB. The large tensor takes more than two, after a small tensor.
    let fills = [
        fill("small", &[3], DType::F16),
        fill("large", &[70 << 18, 2], DType::F16),
    ];
    let file = in_memory(&Contents::safetensors(&fills, &[]).unwrap());
    let read = SafeTensors::deserialize(&file).unwrap();
    assert!(read.tensor("large").unwrap().data() == bytes(&fills[1]));
    assert!(read.tensor("small").unwrap().data() == bytes(&fills[0]));
}

#[test]
fn npy_files_have_numpys_layout() {
    let fill = fill("w", &[2, 3], DType::F16);
    let file = in_memory(&Contents::npy(&fill).unwrap());
    assert!(file.starts_with(
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }"
    ));
    assert_eq!(file[128..], bytes(&fill));

    let error = Contents::npy(&fill.with_dtype(DType::BF16)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"w\": npy cannot hold bf16: use f32, f16, f64, bool or whole numbers, or write .safetensors or .bin"
    );
}

#[test]
fn names_that_safetensors_cannot_hold_are_errors() {
    let refused = |names: [&str; 2]| {
        let fills = names.map(|name| fill(name, &[2], DType::F32));
        Contents::safetensors(&fills, &[]).unwrap_err().to_string()
    };
    assert!(refused(["a", "a"]).starts_with("tensor \"a\" is listed twice"));
    assert!(refused(["a", "__metadata__"]).contains("which is reserved: use another name"));
}

/// Writes a file in place of one that exists.
fn replace(
    path: &Path,
    contents: &Contents<'_>,
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> fanin::Result<()> {
    let writer = Writer::default().with_overwrite(true);
    writer.save(path, contents, make, progress)
}

#[test]
fn a_file_that_exists_is_refused_unless_it_holds_the_contents() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.bin");
    let fill = fill("w", &[1000], DType::F32);
    let contents = Contents::raw(&fill);
    for held in [&b"something else"[..], &[0; 4000]] {
        fs::write(&path, held).unwrap();
        let error = save(&path, &contents, &mut cpu::fill_range, &mut silent).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
        );
        let size = format!("it holds {} bytes", held.len());
        assert!(error.to_string().contains(&size), "{error}");
        assert_eq!(fs::read(&path).unwrap(), held);
    }
    replace(&path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    save(&path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_replaces_the_previous_one() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.bin");
    fs::write(&path, "something else").unwrap();
    let fill = fill("w", &[1000], DType::F32);
    replace(
        &path,
        &Contents::raw(&fill),
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes(&fill));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // It has the permissions of a new file. Those of a temporary file would allow only its owner.
        let new = fs::File::create(folder.path().join("new")).unwrap();
        let mode = |metadata: io::Result<fs::Metadata>| metadata.unwrap().permissions().mode();
        assert_eq!(mode(fs::metadata(&path)), mode(new.metadata()));
    }
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let folder = tempdir().unwrap();
    let (file, link) = (
        folder.path().join("file.bin"),
        folder.path().join("link.bin"),
    );
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let fill = fill("w", &[10], DType::F32);
    replace(
        &link,
        &Contents::raw(&fill),
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), bytes(&fill));
}

#[test]
fn a_failure_leaves_no_file_behind() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.bin");
    fs::write(&path, "old").unwrap();
    let fill = fill("w", &[64 << 20], DType::F16);
    let contents = Contents::raw(&fill);

    let mut calls = 0;
    let error = replace(&path, &contents, &mut cpu::fill_range, &mut |_| {
        calls += 1;
        if calls == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(error, Err(Error::Interrupted)));

    let mut broken = |fill: &Fill, start: u64, out: &mut [u8]| match start {
        0 => cpu::fill_range(fill, start, out),
        _ => Err(Error::Device {
            context: "filling \"w\"".into(),
            detail: "lost\nit".into(),
        }),
    };
    let error = replace(&path, &contents, &mut broken, &mut silent).unwrap_err();
    assert_eq!(error.to_string(), "filling \"w\": lost it");

    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_error_of_the_writer_is_reported() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(taken)
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fill = fill("w", &[128 << 20], DType::F16);
    let contents = Contents::raw(&fill);
    let error = write_to(
        &mut Full(1000),
        "w.bin",
        &contents,
        &mut cpu::fill_range,
        &mut silent,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("w.bin: cannot write: "), "{error}");
}

#[test]
fn paths_that_cannot_be_written_are_refused() {
    let folder = tempdir().unwrap();
    let fill = fill("w", &[10], DType::F32);
    let refused = |path: &std::path::Path| {
        let contents = Contents::raw(&fill);
        save(path, &contents, &mut cpu::fill_range, &mut silent)
            .unwrap_err()
            .to_string()
    };
    let missing = folder.path().join("missing/w.bin");
    let error = refused(&missing);
    assert!(
        error.starts_with(&format!("{}: cannot create", missing.display())),
        "{error}"
    );
    assert!(refused(folder.path()).contains("directory"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_kind_of_source_gives_the_same_list() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shards = [
        [
            fill("a.weight", &[4, 3], DType::BF16),
            fill("a.bias", &[4], DType::BF16),
        ],
        [
            fill("b.weight", &[5, 4], DType::BF16),
            fill("b.bias", &[5], DType::BF16),
        ],
    ];
    for (i, shard) in shards.iter().enumerate() {
        let contents = Contents::safetensors(shard, &[]).unwrap();
        let path = at(&format!("model-0000{}-of-00002.safetensors", i + 1));
        save(path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
    }
    let all = shards.concat();
    let contents = Contents::safetensors(&all, &[]).unwrap();
    save(
        at("model.safetensors"),
        &contents,
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    fs::write(
        at("model.safetensors.index.json"),
        r#"{"metadata": {"total_size": 82}, "weight_map": {
            "a.weight": "model-00001-of-00002.safetensors",
            "a.bias": "model-00001-of-00002.safetensors",
            "b.weight": "model-00002-of-00002.safetensors",
            "b.bias": "model-00002-of-00002.safetensors"}}"#,
    )
    .unwrap();
    fs::write(
        at("list.json"),
        r#"{"model": "x", "tensors": [
            {"name": "a.weight", "shape": [4, 3], "dtype": "BF16", "module": "Linear"},
            {"name": "a.bias", "shape": [4], "dtype": "bf16"},
            {"name": "b.weight", "shape": [5, 4], "dtype": "bfloat16"},
            {"name": "b.bias", "shape": [5], "dtype": "bf16"}]}"#,
    )
    .unwrap();
    let whole = read_tensor_list(at("model.safetensors")).unwrap();
    assert_eq!(whole.elements(), 12 + 4 + 20 + 5);
    assert_eq!(whole.tensors()[2].name, "b.weight");
    assert_eq!(whole.tensors()[2].dtype, Some(DType::BF16));
    for source in ["model.safetensors.index.json", "list.json"] {
        let list = read_tensor_list(at(source)).unwrap();
        assert_eq!(list.tensors(), whole.tensors(), "{source}");
    }
}

#[test]
fn statistics_are_those_of_the_weights() {
    let folder = tempdir().unwrap();
    let fills = [
        fill("half", &[1000, 1000], DType::F16),
        fill("single", &[3_000_001], DType::F32),
        fill("empty", &[4], DType::F32)
            .slice(std::slice::from_ref(&(2..2)))
            .unwrap(),
    ];
    let path = folder.path().join("m.safetensors");
    let contents = Contents::safetensors(&fills, &[]).unwrap();
    save(&path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
    let rows = stats(&path).unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["single", "empty", "half"]);
    let mut weights = vec![0f32; 3_000_001];
    cpu::fill_slice(&fills[1], &mut weights).unwrap();
    let n = weights.len() as f64;
    let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
    let moment = |k: i32| {
        weights
            .iter()
            .map(|&w| (f64::from(w) - mean).powi(k))
            .sum::<f64>()
            / n
    };
    let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-10, "{a:?} {b}");
    near(rows[0].mean, mean);
    near(rows[0].std, moment(2).sqrt());
    near(rows[0].kurtosis, moment(4) / moment(2).powi(2));
    assert_eq!(
        rows[0].max,
        weights.iter().copied().map(f64::from).reduce(f64::max)
    );
    assert_eq!(rows[2].dtype, "f16");
    assert_eq!((rows[1].n, rows[1].zeros), (0, Some(0)));
    assert!(rows[1].mean.unwrap().is_nan());

    let npy = folder.path().join("single.npy");
    save(
        &npy,
        &Contents::npy(&fills[1]).unwrap(),
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    assert_eq!(stats(&npy).unwrap(), rows[..1]);
}

#[test]
fn statistics_of_integers_are_left_out() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let header = r#"{"steps":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"w":{"dtype":"F64","shape":[1],"data_offsets":[16,24]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([7; 16]);
    file.extend(2.5f64.to_le_bytes());
    fs::write(&path, file).unwrap();
    let rows = checkpoint::stats(&path).unwrap();
    assert_eq!(
        (rows[0].dtype.as_str(), rows[0].n, rows[0].mean),
        ("i64", 2, None)
    );
    assert_eq!((rows[1].dtype.as_str(), rows[1].mean), ("f64", Some(2.5)));
}

#[test]
fn weights_are_read_from_files_indices_and_folders() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let neither = Weights::open(folder.path()).unwrap_err().to_string();
    assert!(
        neither.ends_with(
            "is a folder that holds neither model.safetensors nor model.safetensors.index.json nor \
             files of ranks (model-rank-00000-of-0000N.safetensors)"
        ),
        "{neither}"
    );

    let fills = [
        fill("a", &[4, 3], DType::BF16),
        fill("b", &[5], DType::F32),
        fill("c", &[2, 2], DType::F16),
    ];
    let write = |name: &str, fills: &[Fill], metadata: &[(&str, String)]| {
        let contents = Contents::safetensors(fills, metadata).unwrap();
        save(at(name), &contents, &mut cpu::fill_range, &mut silent).unwrap();
    };
    let said = |value: &'static str| [("of", value.to_owned()), (value, "x".to_owned())];
    write("model.safetensors", &fills, &said("single"));
    let single = Weights::open(folder.path()).unwrap();
    assert_eq!(single.path(), at("model.safetensors"));
    assert_eq!(single.metadata("of"), Some("single"));

    // Now the folder has an index too. A single file takes precedence, as in transformers. Without it, the
    // index lists c and a, but not b. The metadata of shards is merged, and the first shard takes precedence.
    write("one.safetensors", &fills[..2], &said("one"));
    write("two.safetensors", &fills[2..], &said("two"));
    fs::write(
        at("model.safetensors.index.json"),
        r#"{"weight_map": {"c": "two.safetensors", "a": "one.safetensors"}}"#,
    )
    .unwrap();
    let both = Weights::open(folder.path()).unwrap();
    assert_eq!(both.path(), at("model.safetensors"));
    fs::remove_file(at("model.safetensors")).unwrap();
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(weights.path(), at("model.safetensors.index.json"));
    let names: Vec<&str> = weights.tensors().iter().map(|t| t.name()).collect();
    assert_eq!(names, ["c", "a"]);
    assert_eq!(weights.metadata("of"), Some("two"));
    assert_eq!(weights.metadata("one"), Some("x"));
    assert_eq!(weights.metadata("none"), None);
    assert_eq!(weights.total_bytes(), 8 + 24);
    assert!(weights.get("b").is_none());
    assert_eq!(read_tensor_list(folder.path()).unwrap().tensors().len(), 2);
    assert_eq!(stats(folder.path()).unwrap().len(), 2);

    // Any ranges, in alternating files.
    let mut reader = Reader::new();
    for (name, range) in [
        ("a", 0..24),
        ("c", 2..8),
        ("a", 23..24),
        ("a", 5..5),
        ("c", 0..1),
    ] {
        let tensor = weights.get(name).unwrap();
        let fill = fills.iter().find(|fill| fill.name() == name).unwrap();
        assert_eq!(tensor.shape(), fill.shape().dims());
        assert_eq!(tensor.dtype(), fill.dtype());
        assert_eq!(tensor.dtype_name(), fill.dtype().name());
        let mut out = vec![0; range.len()];
        reader.read(tensor, range.start as u64, &mut out).unwrap();
        assert_eq!(out, bytes(fill)[range]);
        let whole = fs::read(tensor.file()).unwrap();
        let place = tensor.bytes().start as usize..tensor.bytes().end as usize;
        assert_eq!(whole[place], bytes(fill));
    }
    let a = weights.get("a").unwrap();
    for (offset, length) in [(0, 26), (24, 2), (u64::MAX, 2)] {
        let error = reader.read(a, offset, &mut vec![0; length]).unwrap_err();
        assert!(matches!(error, Error::LengthMismatch { .. }), "{error}");
    }

    fs::write(
        at("twins.json"),
        r#"{"weight_map": {"a": "one.safetensors", "a": "one.safetensors"}}"#,
    )
    .unwrap();
    let twins = Weights::open(at("twins.json")).unwrap_err();
    assert!(matches!(twins, Error::Duplicate { .. }), "{twins}");
    fs::write(
        at("lacks.json"),
        r#"{"weight_map": {"c": "one.safetensors"}}"#,
    )
    .unwrap();
    let lacks = Weights::open(at("lacks.json")).unwrap_err().to_string();
    assert!(
        lacks.ends_with("tensor \"c\": is listed in shard \"one.safetensors\", which lacks it"),
        "{lacks}"
    );
}

/// What would not be read back is refused before anything is written.
#[test]
fn what_is_beyond_the_limits_of_reading_is_not_written() {
    let refused = |name: &str, dims: Vec<u64>, metadata: &[(&str, String)]| {
        let tensor = Tensor::new(name, dims).unwrap();
        let fills = [Fill::new(&tensor, &Init::zeros(), 1).unwrap()];
        let error = Contents::safetensors(&fills, metadata).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        error.to_string()
    };
    let long = refused(&"n".repeat(65_537), vec![1], &[]);
    assert!(
        long.contains("a longer name than the 65536 bytes that are read"),
        "{long}"
    );
    let shape = refused("w", vec![1; 1400], &[]);
    assert!(
        shape.contains("a shape of more than the 4096 characters"),
        "{shape}"
    );
    let metadata = refused("w", vec![1], &[("k", "x".repeat(1 << 26))]);
    assert!(
        metadata.contains("more than 67108864 bytes of metadata"),
        "{metadata}"
    );
}

/// An index that would not be read back is refused before anything is written.
#[test]
fn an_index_above_the_limit_of_reading_is_refused() {
    // Names that are nearly as long as those that are read.
    let split = |tensors: usize| {
        let fills: Vec<Fill> = (0..tensors)
            .map(|i| {
                let name = format!("{}{i:04}", "n".repeat(60_000));
                let tensor = Tensor::new(name, [1]).unwrap();
                Fill::new(&tensor, &Init::zeros(), 1).unwrap()
            })
            .collect();
        Shards::split(&fills, 4, &[]).map(|shards| shards.index().map(str::len))
    };
    assert!(split(1600).unwrap().unwrap() < 100_000_000);
    let error = split(1700).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    let error = error.to_string();
    assert!(error.contains("a folder of shards cannot hold its model, with an index of 102"));
    assert!(error.ends_with("write parts of the model into several folders, or use shorter names"));
}

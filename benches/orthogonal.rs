//! Compares orthogonal n x n matrices: fanin on the CPU and on every adapter, and the method of
//! `torch.nn.init.orthogonal_` (the QR of a Gaussian matrix, an explicit Q, the signs of R's diagonal) by
//! faer on the same threads. A plain product of two n x n matrices is the reference.
//!
//! `cargo bench --bench orthogonal [-- --adapter WORDS] [--sizes 512,1024,2048,4096] [--seconds 2]`.
//! Software drivers stop at n = 1024. The floating-point operations are those of the method: 4/3 n^3 for
//! the product of n given reflections, which is fanin's method, 8/3 n^3 for QR and Q, and 2 n^3 for a
//! product of matrices. fanin's time includes drawing the Gaussian numbers; faer's time does not.

mod common;

use std::ops::Neg;

use common::{
    Arguments, cpu_name, is_software, name, print_machine, room, threads, three_digits, time, wait,
};
use faer::linalg::matmul::matmul;
use faer::traits::RealField;
use faer::{Accum, Mat, MatRef, Par};
use fanin::gpu::Gpu;
use fanin::{Fill, Init, Tensor, cpu};
use rayon::ThreadPool;

/// The largest matrix for a software driver. The next one would take a minute.
const LARGEST_ON_SOFTWARE: usize = 1024;

/// The largest accepted error of the products of columns. A wrong matrix has a far larger one.
const TOLERANCE: f64 = 1e-4;

/// A row of the table.
struct Row {
    case: String,
    seconds: f64,
    operations: f64,
    /// max |Q^T Q - I|, for orthogonal matrices.
    error: Option<f64>,
}

/// Seconds of faer's QR in f32 and in f64.
type Peers = [f64; 2];

fn main() {
    let arguments = Arguments::read(&["adapter", "sizes", "seconds"]);
    let sizes = arguments.text("sizes").unwrap_or("512,1024,2048,4096");
    let sizes = sizes.split(',').map(|n| n.parse().expect("a size"));
    let seconds = arguments.number("seconds").unwrap_or(2.0);
    let adapters = arguments.adapters();
    print_machine(&adapters);
    let all = rayon::current_num_threads();

    println!(
        "`QR / time`: how often this fits into faer's QR of the same matrix on as many threads;"
    );
    println!("for an adapter, on all threads.\n");
    println!("| n | | seconds | GFLOP/s | QR f32 / time | QR f64 / time | max abs(QᵀQ − I) |");
    println!("|---:|---|---:|---:|---:|---:|---:|");
    for n in sizes {
        let peers = on_the_cpu(n, all, seconds);
        for gpu in &adapters {
            if n > LARGEST_ON_SOFTWARE && is_software(gpu) {
                continue;
            }
            match on_an_adapter(gpu, n, seconds) {
                Ok(row) => row.print(n, peers),
                Err(reason) => println!("| {n} | fanin, {}: {reason} | | | | | |", name(gpu)),
            }
        }
        // The slowest cases come last.
        if all > 1 {
            on_the_cpu(n, 1, seconds);
        }
    }
}

impl Row {
    /// Prints the row beside the seconds of the peers on the CPU. For an adapter these are with all threads.
    fn print(&self, n: usize, peers: Peers) {
        if let Some(error) = self.error {
            assert!(error < TOLERANCE, "{}: off by {error} at {n}", self.case);
        }
        println!(
            "| {n} | {} | {} | {} | {} | {} | {} |",
            self.case,
            three_digits(self.seconds),
            three_digits(self.operations / self.seconds / 1e9),
            three_digits(peers[0] / self.seconds),
            three_digits(peers[1] / self.seconds),
            self.error
                .map_or(String::new(), |error| format!("{error:.1e}")),
        );
    }
}

fn cube(n: usize) -> f64 {
    (n as f64).powi(3)
}

fn orthogonal(n: usize) -> Fill {
    let tensor = Tensor::new("orthogonal", [n as u64, n as u64]).expect("a valid shape");
    Fill::new(&tensor, &Init::orthogonal(), 42).expect("a valid initializer")
}

/// Prints the rows for this number of threads.
fn on_the_cpu(n: usize, count: usize, seconds: f64) -> Peers {
    let pool = threads(count);
    faer::set_global_parallelism(if count == 1 {
        Par::Seq
    } else {
        Par::rayon(count)
    });
    let cpu = cpu_name(count);
    let fill = orthogonal(n);
    let mut weights = vec![0f32; n * n];
    let fanin = Row {
        seconds: pool.install(|| {
            time(seconds, || {
                cpu::fill_slice(&fill, &mut weights).expect("a matching length");
            })
        }),
        case: format!("fanin, {cpu}"),
        operations: 4.0 / 3.0 * cube(n),
        error: Some(row_major_error(n, &weights)),
    };
    let gaussian = gaussian(n);
    let double = Mat::from_fn(n, n, |i, j| f64::from(gaussian[(i, j)]));
    let [qr, product] = of_faer(&gaussian, "f32", &pool, seconds);
    let [double_qr, double_product] = of_faer(&double, "f64", &pool, seconds);
    let peers = [qr.seconds, double_qr.seconds];
    for row in [fanin, qr, double_qr, product, double_product] {
        row.print(n, peers);
    }
    peers
}

fn gaussian(n: usize) -> Mat<f32> {
    let tensor = Tensor::new("gaussian", [n as u64, n as u64]).expect("a valid shape");
    let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), 42).expect("a valid initializer");
    let mut weights = vec![0f32; n * n];
    cpu::fill_slice(&fill, &mut weights).expect("a matching length");
    MatRef::from_row_major_slice(&weights, n, n).to_owned()
}

/// f32 or f64.
trait Number: RealField + Copy + Neg<Output = Self> + Into<f64> {}
impl<T: RealField + Copy + Neg<Output = T> + Into<f64>> Number for T {}

/// faer's QR and its product of matrices.
fn of_faer<T: Number>(gaussian: &Mat<T>, dtype: &str, pool: &ThreadPool, seconds: f64) -> [Row; 2] {
    let n = gaussian.nrows();
    let cpu = cpu_name(pool.current_num_threads());
    let mut q = Mat::<T>::zeros(0, 0);
    let qr = Row {
        seconds: pool.install(|| time(seconds, || q = householder(gaussian))),
        case: format!("faer QR {dtype}, {cpu}"),
        operations: 8.0 / 3.0 * cube(n),
        error: Some(error(Mat::from_fn(n, n, |i, j| q[(i, j)].into()))),
    };
    let mut product = q.clone();
    let product = Row {
        seconds: pool.install(|| time(seconds, || product = gaussian * &q)),
        case: format!("faer product {dtype}, {cpu}"),
        operations: 2.0 * cube(n),
        error: None,
    };
    [qr, product]
}

/// The method of torch.
fn householder<T: Number>(gaussian: &Mat<T>) -> Mat<T> {
    let qr = gaussian.qr();
    let mut q = qr.compute_thin_Q();
    let r = qr.thin_R();
    for j in 0..q.ncols() {
        if r[(j, j)].into() < 0.0 {
            q.col_mut(j).iter_mut().for_each(|x| *x = -*x);
        }
    }
    q
}

fn on_an_adapter(gpu: &Gpu, n: usize, seconds: f64) -> Result<Row, String> {
    let fill = orthogonal(n);
    let buffer = room(gpu, fill.bytes())?;
    let submit = || gpu.initializer().submit(gpu.queue(), &fill, &buffer, 0);
    // Warms up, and fails if the device has no memory for the intermediate matrix.
    wait(gpu, submit().map_err(|error| error.to_string())?);
    let seconds = time(seconds, || wait(gpu, submit().expect("a recorded fill")));
    let mut weights = vec![0f32; n * n];
    gpu.read(&buffer, 0, bytemuck::cast_slice_mut(&mut weights))
        .expect("the weights can be read");
    Ok(Row {
        case: format!("fanin, {}", name(gpu)),
        seconds,
        operations: 4.0 / 3.0 * cube(n),
        error: Some(row_major_error(n, &weights)),
    })
}

fn row_major_error(n: usize, weights: &[f32]) -> f64 {
    error(Mat::from_fn(n, n, |i, j| f64::from(weights[i * n + j])))
}

/// Returns max |Q^T Q - I|.
fn error(q: Mat<f64>) -> f64 {
    let n = q.ncols();
    let mut products = Mat::<f64>::zeros(n, n);
    // The check uses all threads, independent of the timed number.
    matmul(
        &mut products,
        Accum::Replace,
        q.transpose(),
        &q,
        1.0,
        Par::rayon(0),
    );
    let off = |i: usize, j: usize| (products[(i, j)] - f64::from(u8::from(i == j))).abs();
    (0..n)
        .flat_map(|j| (0..n).map(move |i| (i, j)))
        .map(|(i, j)| off(i, j))
        .fold(0.0, f64::max)
}

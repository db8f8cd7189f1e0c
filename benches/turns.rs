//! Times a fill on the CPU and on an adapter in turns, and prints the median of the ratios. It is for
//! shared machines, whose speed changes from one second to the next.
//!
//! `cargo bench --bench turns`. `-- --adapter WORDS` restricts it to the adapters that these words
//! describe, and `--seconds S` limits each row. If four blocks an invocation are the default, two are
//! measured too.

mod common;

use std::time::Instant;

use common::{Arguments, block_by_block, cases, cpu_name, median, name, processor, room, wait};
use fanin::gpu::{Gpu, Initializer};
use fanin::{Fill, cpu};

const FEWEST_TURNS: usize = 5;

fn milliseconds(call: impl FnOnce()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64() * 1e3
}

/// Returns the times of each way, turn by turn, after comparing the weights of the CPU with those of the
/// adapter.
fn turns(gpu: &Gpu, ways: &[&Initializer], fill: &Fill, seconds: f64) -> Vec<Vec<f64>> {
    let buffer = room(gpu, fill.bytes()).expect("room for the weights");
    let mut weights = vec![0; fill.bytes() as usize];
    let mut times = vec![Vec::new(); ways.len() + 1];
    // Pipelines are compiled, and memory is touched, before the timed turns.
    let mut warm = false;
    let mut start = Instant::now();
    while times[0].len() < FEWEST_TURNS || start.elapsed().as_secs_f64() < seconds {
        let mut turn = vec![milliseconds(|| {
            cpu::fill(fill, &mut weights).expect("a matching length");
        })];
        turn.extend(ways.iter().map(|initializer| {
            milliseconds(|| {
                let submitted = initializer.submit(gpu.queue(), fill, &buffer, 0);
                wait(gpu, submitted.expect("a recorded fill"));
            })
        }));
        if warm {
            times
                .iter_mut()
                .zip(turn)
                .for_each(|(all, one)| all.push(one));
        } else {
            let mut made = vec![0; weights.len()];
            gpu.read(&buffer, 0, &mut made).expect("readable weights");
            assert!(made == weights, "the CPU and {} make other bits", name(gpu));
            warm = true;
            start = Instant::now();
        }
    }
    times
}

fn main() {
    let arguments = Arguments::read(&["adapter", "seconds"]);
    let seconds = arguments.number("seconds").unwrap_or(10.0);
    let instructions = std::env::var("FANIN_SIMD").unwrap_or_else(|_| "its best".into());
    println!(
        "{}; the CPU on {instructions} instructions. Medians.\n",
        processor()
    );
    println!(
        "| fill of 2^24 elements | who | ms | x the CPU | a tenth of the turns below | above |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for gpu in arguments.adapters() {
        let single = block_by_block(&gpu);
        let mut ways = vec![gpu.initializer()];
        ways.extend(&single);
        for (case, fill) in cases() {
            let times = turns(&gpu, &ways, &fill, seconds);
            let cpu = cpu_name(rayon::current_num_threads());
            println!("| {case} | {cpu} | {:.1} | | | |", median(times[0].clone()));
            for (way, times_of_way) in times[1..].iter().enumerate() {
                let mut ratios: Vec<f64> = times_of_way
                    .iter()
                    .zip(&times[0])
                    .map(|(own, cpu)| own / cpu)
                    .collect();
                ratios.sort_by(f64::total_cmp);
                let at = |part: f64| ratios[(part * (ratios.len() - 1) as f64).round() as usize];
                println!(
                    "| {case} | {}{} | {:.1} | {:.2} | {:.2} | {:.2} |",
                    name(&gpu),
                    ["", ", two blocks an invocation"][way],
                    median(times_of_way.clone()),
                    at(0.5),
                    at(0.1),
                    at(0.9)
                );
            }
        }
    }
}

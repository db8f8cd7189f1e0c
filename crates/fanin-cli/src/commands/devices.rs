//! `fanin devices` lists the adapters that fanin can fill on.

use crate::Failure;
use crate::args::DevicesArguments;

#[cfg(feature = "gpu")]
pub fn run(arguments: &DevicesArguments) -> Result<(), Failure> {
    use crate::output::{print_json, status};
    use crate::table::{Column, print_table};

    let adapters = fanin::gpu::adapters();
    if arguments.json {
        return print_json(&adapters);
    }
    if adapters.is_empty() {
        status("no adapter that can compute: install a Vulkan, Metal, DirectX 12 or OpenGL driver");
        return Ok(());
    }
    let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<Vec<String>> = adapters
        .into_iter()
        .map(|adapter| {
            vec![
                adapter.name,
                adapter.backend,
                adapter.device_type,
                format!("{} {}", adapter.driver, adapter.driver_info)
                    .trim()
                    .to_owned(),
                yes_no(adapter.int64),
                yes_no(adapter.timestamp_query),
                mebibytes(adapter.max_storage_buffer_binding_size),
                mebibytes(adapter.max_buffer_size),
                adapter.max_compute_invocations_per_workgroup.to_string(),
            ]
        })
        .collect();
    let columns = [
        Column::left("name").name(),
        Column::left("backend").rank(1),
        Column::left("type").rank(2),
        Column::left("driver").text().rank(3),
        Column::left("int64").rank(4),
        Column::left("timestamps").rank(7),
        Column::right("max binding").rank(5),
        Column::right("max buffer").rank(6),
        Column::right("workgroup").rank(8),
    ];
    print_table(&columns, &rows, arguments.table.width())
}

/// Returns a limit in MiB, because most limits are powers of two.
#[cfg(feature = "gpu")]
fn mebibytes(bytes: u64) -> String {
    // Drivers without a limit report a number larger than any memory.
    match bytes >> 20 {
        mebibytes if mebibytes >= 1 << 40 => "unlimited".to_owned(),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(not(feature = "gpu"))]
pub fn run(_arguments: &DevicesArguments) -> Result<(), Failure> {
    Err(Failure::Run(crate::backend::WITHOUT_GPU.to_owned()))
}

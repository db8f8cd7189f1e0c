//! The program `fanin`.

use std::process::ExitCode;

/// Runs the command that the process' arguments ask for.
fn main() -> ExitCode {
    #[cfg(all(feature = "gpu", target_os = "linux"))]
    device_select::leave_out();
    ExitCode::from(fanin_cli::run(std::env::args_os()))
}

/// Mesa's Vulkan layer `VK_LAYER_MESA_device_select`, which chooses the default GPU.
///
/// It asks the Wayland compositor for its GPU. Where none can be, as in a container, libwayland writes
/// "error: XDG_RUNTIME_DIR is invalid or not set" to standard error, once for each look at the GPUs.
#[cfg(all(feature = "gpu", target_os = "linux"))]
mod device_select {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    /// The variable that switches the layer off.
    const OFF: &str = "NODEVICE_SELECT";

    /// Starts the program again without the layer, if the layer could only write errors. Messages of
    /// drivers stay.
    ///
    /// Only the environment switches the layer off, and safe code cannot change that of its own process.
    /// Returns if the layer may be of use, or if the program cannot be started again.
    pub fn leave_out() {
        let has_runtime_dir =
            env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).is_absolute());
        let mut choices = [OFF, "MESA_VK_DEVICE_SELECT", "DRI_PRIME"].iter();
        if has_runtime_dir || choices.any(|name| env::var_os(name).is_some()) {
            return;
        }
        let mut arguments = env::args_os();
        if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
            let mut again = Command::new(program);
            // It returns only if it fails, and then this process goes on.
            let _ = again.arg0(name).args(arguments).env(OFF, "1").exec();
        }
    }
}

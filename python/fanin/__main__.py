"""The command line: `fanin`, or `python -m fanin`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Runs the command line with the arguments of the process, and ends the process."""
    from fanin._native import command

    _open_standard_streams()
    _leave_out_device_select()
    # Python's handler would only note the signal and never be asked. The command line sets its own
    # handler where a file is written, and elsewhere Ctrl-C ends the process at once. A signal that
    # was ignored when Python started stays ignored, as `command &` of a script asks for.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command(["fanin", *sys.argv[1:]]))


def _open_standard_streams() -> None:
    """Opens the null device for closed standard streams, as Rust does when a program starts.

    Otherwise the next file that is opened would get the number of the stream, and messages would be
    written into it.
    """
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:
            # The lowest free number is that of the stream.
            os.open(os.devnull, os.O_RDWR)


def _leave_out_device_select() -> None:
    """Switches Mesa's Vulkan layer for the choice of a GPU off, if it could only write errors.

    The layer asks the Wayland compositor for its GPU. Where none can be, as in a container,
    libwayland writes "error: XDG_RUNTIME_DIR is invalid or not set" to standard error. Messages of
    drivers stay.
    """
    choices = ("NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT", "DRI_PRIME")
    has_runtime_dir = os.path.isabs(os.environ.get("XDG_RUNTIME_DIR", ""))
    if not has_runtime_dir and not any(name in os.environ for name in choices):
        os.environ["NODEVICE_SELECT"] = "1"


if __name__ == "__main__":
    main()

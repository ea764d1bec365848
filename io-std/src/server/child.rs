//! What a program must not inherit from the server: descriptors, ignored signals, blocked signals.
//!
//! The one place in this crate with unsafe code: what runs between fork(2) and exec(2) cannot be had
//! without, and no crate has all of it. Only async-signal-safe system calls happen there.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// The first descriptor that is not a standard stream.
const FIRST: libc::c_int = 3;

/// More than the largest signal number of any system; the rest is refused and changes nothing.
const SIGNALS: std::ops::Range<libc::c_int> = 1..128;

/// Where descriptors can only be marked one by one, no more than this many are.
const MOST: libc::c_int = 1 << 20;

/// Makes a program start with its three streams and no other descriptor, with every signal at its
/// default, and none blocked, whatever the server was itself started with, as sshd does: `main` of
/// sshd.c empties the mask, `do_child` of session.c closes all from 3 up.
pub(super) fn inherits_nothing(command: &mut Command) {
    // SAFETY: the closure captures nothing, allocates nothing and takes no lock; what it calls are
    // system calls.
    unsafe {
        command.pre_exec(|| {
            default_signals()?;
            close_on_exec();
            Ok(())
        });
    }
}

fn default_signals() -> io::Result<()> {
    for signal in SIGNALS {
        // SAFETY: no handler is installed. What cannot be set (KILL, STOP, numbers that are none) stays.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the set that sigprocmask(2) then reads. This process has one
    // thread, the one that forked.
    let set = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks rather than closes: the standard library's own descriptor still has to tell whether exec(2)
/// succeeded.
fn close_on_exec() {
    #[cfg(target_os = "linux")]
    {
        let (first, last) = (FIRST.unsigned_abs(), libc::c_uint::MAX);
        // SAFETY: no memory is passed. Linux before 5.11 has no such flag, or no such call.
        let marked = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
        if marked == 0 {
            return;
        }
    }
    // SAFETY: no memory is passed; a number that is no open descriptor is refused.
    let open = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let end = libc::c_int::try_from(open).ok().filter(|end| (0..MOST).contains(end)).unwrap_or(MOST);
    for fd in FIRST..end {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

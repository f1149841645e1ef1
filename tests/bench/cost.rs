//! What processes have cost so far, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of all threads of a process, to the nanosecond.
///
/// # Errors
/// The process has ended, or this is no Linux.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let threads =
        std::fs::read_dir(format!("/proc/{pid}/task")).context("CPU time is read from /proc, which needs Linux")?;
    let mut nanos = 0u64;
    for thread in threads {
        // A thread that ended meanwhile is none of those that work.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time of all our children that have ended, in hundredths of a second.
///
/// # Errors
/// This is no Linux.
pub(crate) fn children() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may hold anything; the fields after it are counted from 3.
    let fields: Vec<&str> = stat.rsplit_once(") ").context("/proc/self/stat")?.1.split(' ').collect();
    let field = |number: usize| -> Result<u64> { Ok(fields.get(number - 3).context("/proc/self/stat")?.parse()?) };
    Ok(Duration::from_millis(10 * (field(16)? + field(17)?)))
}

/// Resident memory in bytes.
///
/// # Errors
/// As for [`cpu`].
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?)
}

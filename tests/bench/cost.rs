//! What a process has cost so far, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of all threads, user and system.
///
/// # Errors
/// The process has ended, or this is no Linux.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .context("CPU time is read from /proc, which needs Linux")?;
    // The name, in parentheses, may hold anything; the fields after it are counted from 3.
    let fields: Vec<&str> = stat.rsplit_once(") ").context("/proc/PID/stat")?.1.split(' ').collect();
    let field = |number: usize| -> Result<u64> { Ok(fields.get(number - 3).context("/proc/PID/stat")?.parse()?) };
    // Linux reports in hundredths of a second on every platform Rust runs on.
    Ok(Duration::from_millis(10 * (field(14)? + field(15)?)))
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

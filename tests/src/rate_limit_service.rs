//! The real rate limit service, envoyproxy/ratelimit on Redis, where this machine has both.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running service and its store.
pub struct RateLimitService {
    /// Where it speaks gRPC.
    pub address: SocketAddr,
    store: Option<Process>,
    _service: Process,
    _folder: tempfile::TempDir,
}

impl RateLimitService {
    /// Starts it with a file of domains and descriptors; nothing, and a loud line, on a machine that lacks it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(limits: &str) -> Result<Option<Self>> {
        let program = crate::repository().join("target/tools/bin/ratelimit");
        if !program.is_file() {
            println!(
                "SKIPPED: no envoyproxy/ratelimit: {} is missing (`make ratelimit` installs it, with Go)",
                program.display()
            );
            return Ok(None);
        }
        if let Err(error) = Command::new("redis-server").arg("--version").output() {
            println!("SKIPPED: no redis-server: {error}");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("limits/config");
        std::fs::create_dir_all(&files)?;
        std::fs::write(files.join("shop.yaml"), limits)?;
        let (redis_port, grpc, http, debug) = (free()?, free()?, free()?, free()?);
        let mut redis = Command::new("redis-server");
        redis.current_dir(folder.path()).args(["--bind", "127.0.0.1", "--save", "", "--port", &redis_port.to_string()]);
        let store = Process::start(&mut redis)?;
        store.wait_for("its socket", PATIENCE, |lines| says(lines, "Ready to accept")).await?;
        let mut service = Command::new(program);
        service.env_clear().envs([
            ("USE_STATSD", "false".to_owned()),
            ("REDIS_SOCKET_TYPE", "tcp".into()),
            ("REDIS_URL", format!("127.0.0.1:{redis_port}")),
            ("RUNTIME_ROOT", folder.path().display().to_string()),
            ("RUNTIME_SUBDIRECTORY", "limits".into()),
            ("RUNTIME_WATCH_ROOT", "false".into()),
            ("HOST", "127.0.0.1".into()),
            ("GRPC_HOST", "127.0.0.1".into()),
            ("DEBUG_HOST", "127.0.0.1".into()),
            ("PORT", http.to_string()),
            ("GRPC_PORT", grpc.to_string()),
            ("DEBUG_PORT", debug.to_string()),
        ]);
        let service = Process::start(&mut service)?;
        service.wait_for("its socket", PATIENCE, |lines| says(lines, "Listening for gRPC")).await?;
        let address = (Ipv4Addr::LOCALHOST, grpc).into();
        Ok(Some(Self { address, store: Some(store), _service: service, _folder: folder }))
    }

    /// Ends the store; the service stays.
    pub fn lose_its_store(&mut self) {
        self.store = None;
    }
}

fn says(lines: &[String], words: &str) -> Option<()> {
    lines.iter().any(|line| line.contains(words)).then_some(())
}

/// A port nobody listens on right now.
fn free() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

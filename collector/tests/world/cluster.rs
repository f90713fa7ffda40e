//! Servers of PostgreSQL that are stopped, killed and promoted.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::data::{done, programs, psql};

/// A server of its own, on this machine.
pub struct Cluster {
    room: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
}

impl Cluster {
    /// A new one; none, and a word of it, where PostgreSQL is not installed.
    pub fn start(test: &str) -> Option<Cluster> {
        let Some(cluster) = Cluster::room() else {
            println!("skipped: {test} (needs postgresql-15)");
            return None;
        };
        let data = cluster.data();
        let mut initdb = cluster.command("initdb");
        initdb.args(["-N", "-U", "vitrine", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"]).arg(data);
        cluster.run(&mut initdb);
        cluster.go();
        Some(cluster)
    }

    fn room() -> Option<Cluster> {
        let programs = programs()?;
        let room = tempfile::tempdir().unwrap();
        if let Some(user) = user() {
            std::os::unix::fs::chown(room.path(), Some(user), None).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Cluster { room, programs, port })
    }

    /// A standby that has everything of this server before this one says that it is written.
    pub fn standby(&self) -> Cluster {
        let standby = Cluster::room().unwrap();
        let from = format!("postgresql://vitrine@127.0.0.1:{}", self.port);
        let mut copy = standby.command("pg_basebackup");
        copy.args(["-R", "-X", "stream", "-c", "fast", "-d", &from, "-D"]).arg(standby.data());
        standby.run(&mut copy);
        standby.go();
        let streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        self.until(streams, "1");
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        self.until("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1");
        standby
    }

    fn until(&self, sql: &str, answer: &str) {
        for _ in 0..500 {
            if self.sql(sql).trim() == answer {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited in vain for {answer} of {sql}");
    }

    fn data(&self) -> PathBuf {
        self.room.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some(user) = user() {
            command.uid(user);
        }
        command.current_dir(self.room.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let log = self.room.path().join("log");
        let mut command = self.command("pg_ctl");
        // The server keeps what it inherits open.
        command.arg("-D").arg(self.data()).arg("-w").arg("-l").arg(log).args(arguments).stderr(Stdio::null());
        self.run(&mut command);
    }

    /// Starts a server that was stopped.
    pub fn go(&self) {
        let room = self.room.path().display();
        let options = format!("-p {} -k {room} -c listen_addresses=127.0.0.1 -c max_connections=200", self.port);
        self.pg_ctl(&["-o", &options, "start"]);
    }

    /// Stops it, and all its connections.
    pub fn stop(&self) {
        self.pg_ctl(&["-m", "fast", "stop"]);
    }

    /// Kills it as a power cut would end it.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        // Its children first, so that none of them commits something meanwhile.
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all: Vec<&str> = std::iter::once(pid.as_str()).chain(children.split_whitespace()).collect();
        Command::new("kill").arg("-9").args(all).status().unwrap();
    }

    /// Makes a standby take writes.
    pub fn promote(&self) {
        self.pg_ctl(&["promote"]);
    }

    /// The URL of a database, which is made where it is missing.
    pub fn database(&self, name: &str) -> String {
        if self.sql(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")).trim() == "0" {
            self.sql(&format!("CREATE DATABASE {name}"));
        }
        format!("postgresql://vitrine@127.0.0.1:{}/{name}", self.port)
    }

    fn sql(&self, sql: &str) -> String {
        done(psql(&format!("postgresql://vitrine@127.0.0.1:{}/postgres", self.port), sql))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]).stderr(Stdio::null());
        let _ = command.status();
    }
}

/// A data directory whose collector uses a database.
pub fn data_of(url: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    name(directory.path(), url);
    directory
}

fn name(directory: &Path, url: &str) {
    std::fs::write(directory.join("database"), format!("{url}\n")).unwrap();
}

/// PostgreSQL does not run as root.
fn user() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| id(&["-u", "postgres"]).unwrap())
}

//! A PostgreSQL of one's own that may be stopped, killed and told lies: throw-away, as `scripts/test` makes one.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How the server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sessions are ended, everything is written.
    Fast,
    /// Everybody stops where they are; the next start recovers.
    Immediate,
    /// SIGKILL of the first process; the others notice.
    Killed,
}

/// The server with its files.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    data: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    environment: BTreeMap<String, String>,
    settings: Vec<&'static str>,
    server: Option<Child>,
}

/// Debian keeps the programs of each version apart and off PATH; the newest counts.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return bin;
    }
    let told = Command::new("pg_config").arg("--bindir").output().expect("PostgreSQL's programs are here");
    PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())
}

/// PostgreSQL refuses to run as root.
fn somebody_else(folder: &Path) -> Option<(u32, u32)> {
    let id = |what: &str, of: &str| -> Option<u32> {
        let told = Command::new("id").args([what, of]).output().ok()?;
        String::from_utf8(told.stdout).ok()?.trim().parse().ok()
    };
    if std::fs::metadata(folder).ok()?.uid() != 0 {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| Some((id("-u", name)?, id("-g", name)?)))
}

impl Cluster {
    /// A new one, running, with its files in `data`, a folder that is there and empty, or in one of its own.
    pub async fn new(
        data: Option<PathBuf>,
        environment: BTreeMap<String, String>,
        settings: &[&'static str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let user = somebody_else(folder.path());
        let data = data.unwrap_or_else(|| folder.path().join("data"));
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give it away");
        }
        let mut cluster = Self {
            programs: programs(),
            folder,
            data,
            user,
            port: 0,
            environment,
            settings: settings.to_vec(),
            server: None,
        };
        let mut initdb = cluster.program("initdb");
        initdb.args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--data-checksums",
            "--no-sync",
            "-D",
        ]);
        let made = initdb.arg(&cluster.data).output().expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.port = free_port();
        cluster.start().await;
        cluster
    }

    /// A standby of this one: it follows, and takes over when it is told to.
    pub async fn standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        if let Some((uid, gid)) = self.user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give it away");
        }
        let mut standby = Self {
            programs: self.programs.clone(),
            data: folder.path().join("data"),
            folder,
            user: self.user,
            port: free_port(),
            environment: BTreeMap::new(),
            settings: self.settings.clone(),
            server: None,
        };
        let mut copy = standby.program("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-R", "-X", "stream"]);
        copy.args(["-c", "fast", "--no-sync", "-D"]).arg(&standby.data);
        let made = tokio::task::block_in_place(|| copy.output()).expect("pg_basebackup starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        standby.start().await;
        standby
    }

    /// From now on a commit is one when the standby has it on its disk, too.
    pub async fn commit_with_standby(&self) {
        self.say("ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()").await;
        self.until("SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')").await;
    }

    /// A standby takes over.
    pub async fn take_over(&self) {
        self.say("SELECT pg_promote()").await;
        // The copy may have been told of a standby that is not there.
        self.say("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()").await;
    }

    /// Waits until the server says yes.
    pub async fn until(&self, question: &'static str) {
        let began = Instant::now();
        let mut session = self.connect().await.expect("the server answers");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !sqlx::query_scalar::<_, bool>(question).fetch_one(&mut session).await.expect("it can be asked")
        {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(60), "{question}: {}", self.log());
        }
        session.close().await.expect("the server lets go");
    }

    /// A file that the server reads and nobody else does.
    pub fn keep(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&path);
        file.as_mut().expect("a file of ours").write_all(content.as_bytes()).expect("it is written");
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).expect("root may give it away");
        }
        path
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs one of its programs to its end, which is a good one.
    pub fn call(&self, name: &str, arguments: &[&str]) {
        let ended = tokio::task::block_in_place(|| self.program(name).args(arguments).output());
        let ended = ended.expect("the program starts");
        assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        let began = Instant::now();
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a log of ours");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(60), "{}", self.log());
            // What is left of a killed one may keep the next from starting for a moment.
            let gone = self.server.as_mut().is_none_or(|s| s.try_wait().expect("it can be asked").is_some());
            if gone {
                let mut command = self.program("postgres");
                command.envs(&self.environment).arg("-D").arg(&self.data).arg("-k").arg(self.folder.path());
                command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
                for setting in ["max_connections=100", "shared_buffers=16MB", "wal_sync_method=fdatasync"] {
                    command.args(["-c", setting]);
                }
                for setting in &self.settings {
                    command.args(["-c", setting]);
                }
                command.stdout(log.try_clone().expect("a file")).stderr(log.try_clone().expect("a file"));
                self.server = Some(command.spawn().expect("the server starts"));
            }
            if self.connect().await.is_ok() {
                return;
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its address, reached directly or through another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url()).await
    }

    /// What an administrator says.
    pub async fn say(&self, sql: &str) {
        let mut session = self.connect().await.expect("the server answers");
        for one in sql.split(';').filter(|s| !s.trim().is_empty()) {
            sqlx::raw_sql(AssertSqlSafe(one)).execute(&mut session).await.expect("the server does it");
        }
        session.close().await.expect("the server lets go");
    }

    /// Ends it; nothing of it runs any more when this returns.
    pub async fn end(&mut self, end: End) {
        let mut server = self.server.take().expect("it runs");
        let first = server.id();
        let all = children(first);
        match end {
            End::Fast => signal("-INT", &[first]),
            End::Immediate => signal("-QUIT", &[first]),
            End::Killed => server.kill().expect("it runs"),
        }
        tokio::task::block_in_place(|| server.wait()).expect("it ends");
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while all.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            tick.tick().await;
        }
    }

    /// All of its processes stop at once.
    pub async fn lose_power(&mut self) {
        let first = self.server.as_ref().expect("it runs").id();
        let all = children(first);
        signal("-KILL", &[&[first], &all[..]].concat());
        self.end(End::Killed).await;
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let task = format!("/proc/{parent}/task/{parent}/children");
    let all = std::fs::read_to_string(task).expect("the parent runs");
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn signal(what: &str, pids: &[u32]) {
    // One that ended meanwhile is no failure.
    let pids = pids.iter().map(u32::to_string);
    Command::new("kill").arg(what).args(pids).stderr(Stdio::null()).status().expect("kill starts");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal("-QUIT", &[server.id()]);
            let _ = server.wait();
        }
    }
}

//! The built program, as a supervisor starts it: again and again, at the same address.

use crate::crash::wait_until_ready;
use crate::scene::{client, environment, sandbox_for};
use agenstack_sandbox::Settings;
use reqwest::Client;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A database with organizations in it, the emulated providers, and what nodes are started with.
#[derive(Clone)]
pub struct Stage {
    pub settings: Settings,
    pub environment: BTreeMap<String, String>,
    pub program: PathBuf,
}

/// The program under test.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_agenstack").into()
}

impl Stage {
    /// Over a database that is empty; it gets `organizations`, each with a shop and a page.
    pub async fn new(url: &str, organizations: usize) -> Self {
        Self::of(program(), url, organizations).await
    }

    /// The same by another program.
    pub async fn of(program: PathBuf, url: &str, organizations: usize) -> Self {
        let (_, settings) = sandbox_for("http://127.0.0.1:9").await;
        let environment = environment(&settings, url);
        let stage = Self { settings, environment, program };
        stage.run(&["seed", "--organizations", &organizations.to_string()]).await;
        stage
    }

    /// Runs the program to its end, which is a good one; gives what it says.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.environment).args(arguments);
        let ended = tokio::task::spawn_blocking(move || command.output().expect("the program starts")).await;
        let ended = ended.expect("it ends");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).expect("it says text")
    }

    /// A program with more settings, beside those that it has by itself.
    pub fn with(mut self, more: &[(&str, &str)]) -> Self {
        self.environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Starts `n` nodes.
    pub async fn nodes(&self, n: usize) -> Vec<Node> {
        let mut all = Vec::new();
        for _ in 0..n {
            all.push(Node::start(self, None).await);
        }
        all
    }
}

/// One running node.
pub struct Node {
    program: PathBuf,
    environment: BTreeMap<String, String>,
    files: Option<usize>,
    http: Client,
    process: Child,
    /// How it is reached.
    pub at: String,
}

fn spawn(program: &Path, environment: &BTreeMap<String, String>, files: Option<usize>) -> Child {
    let mut command = match files {
        None => Command::new(program),
        Some(files) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(program);
            shell
        }
    };
    command.env_clear().envs(environment).arg("serve").stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

impl Node {
    /// Starts one; the system gives it so many open files, if that is told.
    pub async fn start(stage: &Stage, files: Option<usize>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        let mut environment = stage.environment.clone();
        environment.insert("AGENSTACK_LISTEN".into(), listen.to_string());
        let program = stage.program.clone();
        let process = spawn(&program, &environment, files);
        let mut node =
            Self { program, environment, files, http: client(), process, at: format!("http://{listen}") };
        node.until_ready().await;
        node
    }

    async fn until_ready(&mut self) {
        tokio::task::block_in_place(|| wait_until_ready(&mut self.process));
        let ready = self.http.get(format!("{}/readyz", self.at)).send().await.expect("it answers");
        assert_eq!(ready.status(), 200);
    }

    /// SIGKILL: nothing of it runs on.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// SIGTERM, as a supervisor ends it.
    pub fn tell_to_stop(&self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(told.expect("kill starts").success(), "it runs");
    }

    /// Waits until it has ended by itself; gives whether it says that all is well.
    pub fn ended(&mut self) -> bool {
        tokio::task::block_in_place(|| self.process.wait()).expect("it ends").success()
    }

    /// Starts it again; gives how long it took until it was ready.
    pub async fn restart(&mut self) -> Duration {
        let began = Instant::now();
        self.process = spawn(&self.program, &self.environment, self.files);
        self.until_ready().await;
        began.elapsed()
    }

    /// KiB of memory that it has resident, and files that it has open.
    pub fn takes(&self) -> (u64, usize) {
        let of = format!("/proc/{}", self.process.id());
        let status = std::fs::read_to_string(format!("{of}/status")).expect("it runs, and this is Linux");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let resident = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        (resident, std::fs::read_dir(format!("{of}/fd")).expect("it runs").count())
    }

    /// Whether the system may give it pages of two megabytes.
    pub fn has_large_pages(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs, and this is Linux");
        status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "1"]))
    }

    /// Whether the process is still the one that was started.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("it can be asked").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

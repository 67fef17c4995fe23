//! A disk whose cache can be lost, that can lie and that can be full: `lost_writes.c` between a program and its files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Makes a library of a source beside this one, to stand between a program and the system; gives where it is.
pub fn shared_library(source: &str, to: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fault").join(source);
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([to, &source])
        .output()
        .expect("a C compiler is here: SQLite needs one, too");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    to.to_str().expect("a path of ours").to_owned()
}

/// A directory for files, with what stands between.
pub struct Disk {
    folder: TempDir,
}

/// What the loss of power took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    pub writes: usize,
    pub files: usize,
}

impl Disk {
    pub fn new() -> Self {
        let disk = Self { folder: tempfile::tempdir().expect("a folder for the disk") };
        // A database server may run as somebody else.
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own folder");
        };
        open(disk.folder.path(), 0o755);
        for name in ["files", "keep"] {
            std::fs::create_dir(disk.path(name)).expect("a new folder");
            open(&disk.path(name), 0o777);
        }
        shared_library("lost_writes.c", &disk.path("lost_writes.so"));
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the files are.
    pub fn files(&self) -> PathBuf {
        self.path("files")
    }

    /// What a program has to be started with.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let text = |path: PathBuf| path.into_os_string().into_string().expect("a path of ours");
        let all = [
            ("LD_PRELOAD", text(self.path("lost_writes.so"))),
            ("LOST_WRITES_UNDER", text(self.files()) + "/"),
            ("LOST_WRITES_KEEP", text(self.path("keep"))),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn tell(&self, what: &str, so: bool) {
        let path = self.path("keep").join(what);
        if so {
            File::create(path).expect("our own folder");
        } else if path.exists() {
            std::fs::remove_file(path).expect("our own folder");
        }
    }

    /// From now on it says that it has kept what it has not.
    pub fn lie(&self, so: bool) {
        self.tell("lies", so);
    }

    /// From now on no file can grow.
    pub fn fill(&self, so: bool) {
        self.tell("full", so);
    }

    /// The power is gone, and whoever wrote here with it: takes back what was never synced.
    pub fn lose(&self) -> Loss {
        let mapped = std::fs::read_to_string(self.path("keep").join("mapped")).unwrap_or_default();
        assert_eq!(mapped, "", "written without being seen");
        let mut loss = Loss::default();
        let mut files = BTreeMap::new();
        by_inode(&self.files(), &mut files);
        for entry in std::fs::read_dir(self.path("keep")).expect("our own folder") {
            let entry = entry.expect("our own folder");
            let Some(inode) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            let journal = std::fs::read(entry.path()).expect("a journal");
            if let Some(path) = files.get(&inode) {
                let undone = take_back(&journal, path);
                loss.writes += undone;
                loss.files += usize::from(undone > 0);
            }
            File::create(entry.path()).expect("a journal that is emptied");
        }
        // What readers share in memory is gone as well.
        for path in files.values().filter(|p| p.to_string_lossy().ends_with("-shm")) {
            std::fs::remove_file(path).expect("a file of ours");
        }
        loss
    }
}

fn by_inode(folder: &Path, files: &mut BTreeMap<u64, PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of ours") {
        let entry = entry.expect("a folder of ours");
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            by_inode(&entry.path(), files);
        } else if kind.is_file() {
            files.insert(entry.metadata().expect("a file of ours").ino(), entry.path());
        }
    }
}

/// Puts back what the records say, the last first; gives how many there were.
fn take_back(journal: &[u8], path: &Path) -> usize {
    const HEAD: usize = 24;
    let mut records = Vec::new();
    let mut rest = journal;
    // Killed while it was written: then the write that it stands for was never made.
    while let Some((head, tail)) = rest.split_at_checked(HEAD) {
        let number = |n: usize| u64::from_le_bytes(head[n * 8..n * 8 + 8].try_into().expect("eight bytes"));
        let (at, length, size) = (number(0), number(1), number(2));
        let Some((old, tail)) = tail.split_at_checked(length as usize) else { break };
        records.push((at, old, size));
        rest = tail;
    }
    let file = OpenOptions::new().write(true).open(path).expect("a file of ours");
    for (at, old, size) in records.iter().rev() {
        file.set_len(*size).expect("a file of ours");
        file.write_all_at(old, *at).expect("a file of ours");
    }
    records.len()
}

#[test]
fn what_was_never_synced_is_taken_back_what_was_stays_and_a_full_disk_keeps_what_it_has() {
    let disk = Disk::new();
    let path = disk.files().join("file");
    let write = |text: &str, at: usize, sync: bool| {
        let mut command = Command::new("dd");
        command
            .envs(disk.environment())
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null());
        command.arg(format!("of={}", path.display())).args(["bs=1".into(), format!("seek={at}")]);
        command.arg(if sync { "conv=notrunc,fsync" } else { "conv=notrunc" });
        let mut child = command.spawn().expect("dd starts");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait().unwrap().success()
    };
    let read = || std::fs::read_to_string(&path).unwrap();
    assert!(write("kept and kept", 0, true));
    assert_eq!(disk.lose().writes, 0);
    assert!(write("lost", 0, false) && write(" and longer", 13, false) && write("!", 2, false));
    assert_eq!(read(), "lo!t and kept and longer");
    assert_eq!(disk.lose().files, 1);
    assert_eq!(read(), "kept and kept");
    // Said to be synced, and was not.
    disk.lie(true);
    assert!(write("lied", 0, true));
    disk.lie(false);
    assert_eq!(disk.lose().writes, 4);
    assert_eq!(read(), "kept and kept");
    disk.fill(true);
    assert!(!write(" more", 13, true) && write("KEPT", 0, true));
    disk.fill(false);
    assert!(write(" more", 13, true));
    disk.lose();
    assert_eq!(read(), "KEPT and kept more");
}

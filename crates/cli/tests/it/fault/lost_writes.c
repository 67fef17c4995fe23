/*
 * A disk whose cache can be lost and that can be full, between a program and its files: loaded with LD_PRELOAD.
 *
 * Writes go through at once, so that every reader sees them, but what they replace is put into a journal of the file first:
 * old bytes and old size. fsync and fdatasync empty it. After a SIGKILL the test puts back, from the last record to the first,
 * what was never synced: then the files are as a disk without power would show them.
 *
 * LOST_WRITES_UNDER  only regular files below this directory are looked at
 * LOST_WRITES_KEEP   the directory of the journals, one for each file: named by its inode, so that it follows a renaming
 *   KEEP/lies        while this exists, syncing succeeds and keeps nothing
 *   KEEP/full        while this exists, no file can grow
 *   KEEP/mapped      written if a file is mapped for shared writing, which is not seen here
 *
 * Making, renaming and removing files is not undone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* A record: these three, then `length` old bytes. The test reads the same. */
struct head {
    uint64_t at, length, size;
};

static const char *under(void) {
    const char *path = getenv("LOST_WRITES_UNDER");
    return path ? path : "";
}

static int told(const char *what) {
    char path[PATH_MAX];
    const char *keep = getenv("LOST_WRITES_KEEP");
    snprintf(path, sizeof path, "%s/%s", keep ? keep : "", what);
    return syscall(SYS_access, path, F_OK) == 0;
}

/* The journal, locked, if the file is one that counts; otherwise -1. What is lost is not the caller's errno. */
static int journal(int fd, struct stat *st) {
    char link[64], path[PATH_MAX];
    const char *base = under(), *keep = getenv("LOST_WRITES_KEEP");
    int kept = errno, out = -1;
    ssize_t n;
    if (*base && keep && fstat(fd, st) == 0 && S_ISREG(st->st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof path - 1);
        if (n > 0 && strncmp(path, base, strlen(base)) == 0) {
            snprintf(path, sizeof path, "%s/%llu", keep, (unsigned long long)st->st_ino);
            out = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
            if (out < 0) abort();
            while (flock(out, LOCK_EX) != 0)
                if (errno != EINTR) abort();
            /* Its size may have changed while somebody else held the lock. */
            if (fstat(fd, st) != 0) abort();
        }
    }
    errno = kept;
    return out;
}

static void let_go(int out) {
    int kept = errno;
    if (out >= 0) syscall(SYS_close, out);
    errno = kept;
}

/* Keeps what is in the file from `at`, `length` bytes or as many as there are. */
static void keep_old(int out, int fd, const struct stat *st, uint64_t at, uint64_t length) {
    struct head head = {at, 0, (uint64_t)st->st_size};
    char own[64], *bytes, *record;
    int from, kept = errno;
    if (at < head.size) head.length = length < head.size - at ? length : head.size - at;
    record = malloc(sizeof head + head.length);
    if (!record) abort();
    bytes = record + sizeof head;
    memcpy(record, &head, sizeof head);
    if (head.length) {
        /* The caller's may be open for writing only. */
        snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
        from = (int)syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC);
        if (from < 0) abort();
        if (syscall(SYS_pread64, from, bytes, head.length, at) != (long)head.length) abort();
        syscall(SYS_close, from);
    }
    if (syscall(SYS_write, out, record, sizeof head + head.length) != (long)(sizeof head + head.length)) abort();
    free(record);
    errno = kept;
}

static uint64_t length_of(const struct iovec *parts, int n) {
    uint64_t all = 0;
    for (int i = 0; i < n; i++) all += parts[i].iov_len;
    return all;
}

/* Before a write: keeps what it replaces. -1 with errno if the disk is full. */
static int before(int *out, int fd, int64_t at, uint64_t length) {
    struct stat st;
    *out = journal(fd, &st);
    if (*out < 0) return 0;
    if (at < 0) {
        int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
        at = flags & O_APPEND ? (int64_t)st.st_size : (int64_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    if ((uint64_t)at + length > (uint64_t)st.st_size && told("full")) {
        let_go(*out);
        errno = ENOSPC;
        return -1;
    }
    keep_old(*out, fd, &st, (uint64_t)at, length);
    return 0;
}

#define WRITE(at, length, call)                       \
    int out;                                          \
    ssize_t done;                                     \
    if (before(&out, fd, (at), (length))) return -1;  \
    done = (ssize_t)(call);                           \
    let_go(out);                                      \
    return done

ssize_t write(int fd, const void *from, size_t n) { WRITE(-1, n, syscall(SYS_write, fd, from, n)); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { WRITE(at, n, syscall(SYS_pwrite64, fd, from, n, at)); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { WRITE(at, n, syscall(SYS_pwrite64, fd, from, n, at)); }
ssize_t writev(int fd, const struct iovec *parts, int n) { WRITE(-1, length_of(parts, n), syscall(SYS_writev, fd, parts, n)); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    WRITE(at, length_of(parts, n), syscall(SYS_pwritev, fd, parts, n, (unsigned long)at, 0UL));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) {
    WRITE(at, length_of(parts, n), syscall(SYS_pwritev, fd, parts, n, (unsigned long)at, 0UL));
}

static int resized(int fd, off64_t size) {
    struct stat st;
    int out = journal(fd, &st), done;
    if (out >= 0) {
        if (size > st.st_size && told("full")) {
            let_go(out);
            errno = ENOSPC;
            return -1;
        }
        keep_old(out, fd, &st, (uint64_t)size, size < st.st_size ? (uint64_t)(st.st_size - size) : 0);
    }
    done = (int)syscall(SYS_ftruncate, fd, size);
    let_go(out);
    return done;
}
int ftruncate(int fd, off_t size) { return resized(fd, size); }
int ftruncate64(int fd, off64_t size) { return resized(fd, size); }
static int shortened(const char *path, off64_t size) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC), done;
    if (fd < 0) return -1;
    done = resized(fd, size);
    let_go(fd);
    return done;
}
int truncate(const char *path, off_t size) { return shortened(path, size); }
int truncate64(const char *path, off64_t size) { return shortened(path, size); }

/* The next file may get the inode of one that is gone: what was kept of it goes with it. */
static void forget(const char *path) {
    struct stat st;
    int kept = errno, out, fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        out = journal(fd, &st);
        if (out >= 0 && st.st_nlink == 1) syscall(SYS_ftruncate, out, 0);
        let_go(out);
        let_go(fd);
    }
    errno = kept;
}
int unlink(const char *path) {
    forget(path);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
int rename(const char *from, const char *to) {
    forget(to);
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

static int allocated(int fd, int mode, off64_t at, off64_t length) {
    int out, done;
    if (before(&out, fd, at, (uint64_t)length)) return -1;
    done = (int)syscall(SYS_fallocate, fd, mode, at, length);
    let_go(out);
    return done;
}
int fallocate(int fd, int mode, off_t at, off_t length) { return allocated(fd, mode, at, length); }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return allocated(fd, mode, at, length); }
int posix_fallocate(int fd, off_t at, off_t length) { return allocated(fd, 0, at, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return allocated(fd, 0, at, length) ? errno : 0; }

static int synced(int fd, long call) {
    struct stat st;
    int out = journal(fd, &st), done = 0;
    /* Without the disk: what is left in its cache survives the death of a process. */
    if (out < 0) return (int)syscall(call, fd);
    if (!told("lies")) done = (int)syscall(SYS_ftruncate, out, 0);
    let_go(out);
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static void *mapped(void *at, size_t length, int rights, int flags, int fd, off64_t from) {
    struct stat st;
    int out = fd >= 0 && (flags & MAP_SHARED) && (rights & PROT_WRITE) ? journal(fd, &st) : -1;
    if (out >= 0) {
        char link[64], path[PATH_MAX];
        ssize_t n;
        let_go(out);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof path - 1);
        /* The shared memory of SQLite's readers is made anew at every start. */
        if (n > 4 && memcmp(path + n - 4, "-shm", 4) != 0) {
            char mark[PATH_MAX];
            snprintf(mark, sizeof mark, "%s/mapped", getenv("LOST_WRITES_KEEP"));
            out = (int)syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
            if (out < 0 || syscall(SYS_write, out, path, (size_t)n) != n) abort();
            let_go(out);
        }
    }
    return (void *)syscall(SYS_mmap, at, length, rights, flags, fd, from);
}
void *mmap(void *at, size_t length, int rights, int flags, int fd, off_t from) { return mapped(at, length, rights, flags, fd, from); }
void *mmap64(void *at, size_t length, int rights, int flags, int fd, off64_t from) { return mapped(at, length, rights, flags, fd, from); }

/* Makes one system call of the server fail: a library for LD_PRELOAD, as the tests of faults build it.
 *
 * The file that PG_STRATA_FAULTS names is mapped by every process of the server: it says which call fails, the how
 * manieth of those that reach below a directory, and with what error; or, where the error is negative, for how many
 * milliseconds it waits. Calls elsewhere, the server's own, never fail. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct control {
	char		call[32];		/* its name here; empty: none fails */
	char		under[256];		/* the directory */
	int			error;
	atomic_int	left;			/* calls that still succeed */
	atomic_int	fired;
	atomic_int	reached;		/* calls so far, those that succeed too */
};

static struct control *control;

__attribute__((constructor))
static void
map_control(void)
{
	const char *path = getenv("PG_STRATA_FAULTS");
	int			fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		control = NULL;
	close(fd);
}

static int
fails(const char *call, const char *path)
{
	size_t		length;

	if (!control || strcmp(call, control->call) != 0)
		return 0;
	length = strlen(control->under);
	if (strncmp(path, control->under, length) != 0)
		return 0;
	atomic_fetch_add(&control->reached, 1);
	if (atomic_fetch_sub(&control->left, 1) != 0)
		return 0;
	atomic_fetch_add(&control->fired, 1);
	if (control->error < 0)
	{
		usleep(-control->error * 1000);
		return 0;
	}
	errno = control->error;
	return 1;
}

static int
fails_on(const char *call, int fd)
{
	char		link[64];
	char		path[4096];
	ssize_t		length;

	if (!control || strcmp(call, control->call) != 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	return fails(call, path);
}

#define NEXT(type, name) static type (*next)(); if (!next) next = (type (*)()) dlsym(RTLD_NEXT, #name)
#define ON_FD(type, name, parameters, fd, ...) \
	type name parameters { NEXT(type, name); return fails_on(#name, fd) ? -1 : next(__VA_ARGS__); }
#define ON_PATH(type, name, parameters, path, ...) \
	type name parameters { NEXT(type, name); return fails(#name, path) ? -1 : next(__VA_ARGS__); }
#define ON_DIRECTORY(type, name, parameters, fd, ...) \
	type *name parameters { NEXT(type *, name); return fails_on(#name, fd) ? NULL : next(__VA_ARGS__); }

ON_FD(ssize_t, write, (int fd, const void *data, size_t size), fd, fd, data, size)
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), fd, fd, data, size, at)
ON_FD(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), fd, fd, data, size, at)
ON_FD(ssize_t, read, (int fd, void *data, size_t size), fd, fd, data, size)
ON_FD(ssize_t, copy_file_range, (int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags), fd, from, at, fd, to, size, flags)
ON_FD(int, flock, (int fd, int operation), fd, fd, operation)
ON_FD(ssize_t, writev, (int fd, const void *pieces, int count), fd, fd, pieces, count)
ON_FD(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t size), fd, fd, from, at, size)
ON_FD(int, fdatasync, (int fd), fd, fd)
ON_FD(int, fallocate, (int fd, int mode, off64_t at, off64_t size), fd, fd, mode, at, size)
ON_FD(int, fchown, (int fd, uid_t owner, gid_t group), fd, fd, owner, group)
ON_FD(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), fd, fd, name, value, size)
ON_FD(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags), fd, fd, name, value, size, flags)
ON_FD(int, fstat64, (int fd, struct stat64 *found), fd, fd, found)
ON_FD(int, fsync, (int fd), fd, fd)
ON_FD(int, sync_file_range, (int fd, off64_t from, off64_t size, unsigned flags), fd, fd, from, size, flags)
ON_FD(int, ftruncate64, (int fd, off64_t size), fd, fd, size)
ON_FD(int, fchmod, (int fd, mode_t mode), fd, fd, mode)
ON_FD(off64_t, lseek64, (int fd, off64_t at, int from), fd, fd, at, from)
ON_PATH(int, stat64, (const char *path, struct stat64 *found), path, path, found)
ON_PATH(int, lstat64, (const char *path, struct stat64 *found), path, path, found)
ON_PATH(int, linkat, (int at, const char *path, int to_at, const char *to, int flags), path, at, path, to_at, to, flags)
ON_PATH(int, chmod, (const char *path, mode_t mode), path, path, mode)
ON_PATH(int, mkdir, (const char *path, mode_t mode), path, path, mode)
ON_PATH(int, unlink, (const char *path), path, path)
ON_PATH(int, rmdir, (const char *path), path, path)
ON_PATH(int, rename, (const char *path, const char *to), path, path, to)
ON_PATH(int, renameat2, (int at, const char *path, int to_at, const char *to, unsigned flags), path, at, path, to_at, to, flags)

ON_DIRECTORY(DIR, fdopendir, (int fd), fd, fd)
ON_DIRECTORY(struct dirent64, readdir64, (DIR *directory), dirfd(directory), directory)

DIR *
opendir(const char *path)
{
	NEXT(DIR *, opendir);
	return fails("opendir", path) ? NULL : next(path);
}

/* Those that name a file by a directory's descriptor: the directory decides, or an absolute path. */
static int
fails_at(const char *call, int fd, const char *path)
{
	return path[0] == '/' || fd == AT_FDCWD ? fails(call, path) : fails_on(call, fd);
}

int
unlinkat(int fd, const char *path, int flags)
{
	NEXT(int, unlinkat);
	return fails_at("unlinkat", fd, path) ? -1 : next(fd, path, flags);
}

int
statx(int fd, const char *path, int flags, unsigned wanted, struct statx *found)
{
	/* Callers find out with a null path whether there is such a call; the header says that there is none. */
	const char *volatile given = path;

	NEXT(int, statx);
	return (given && given[0] ? fails_at("statx", fd, path) : fails_on("statx", fd)) ? -1 : next(fd, path, flags, wanted, found);
}

int
openat64(int fd, const char *path, int flags, ...)
{
	va_list		arguments;
	mode_t		mode = 0;

	NEXT(int, openat64);
	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return fails_at("openat64", fd, path) ? -1 : next(fd, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	va_list		arguments;
	mode_t		mode = 0;

	NEXT(int, open64);
	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return fails("open64", path) ? -1 : next(path, flags, mode);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of the guest: guest-init RUN, where RUN is the folder in which vm.sh
 * left "env" (what to do) and "command". The root is the host's, read only. It is
 * not a shell script, because a script starts twenty programs for the same work,
 * which takes five seconds in a debug kernel.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *run;

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = false;

	if (fd >= 0) {
		written = write(fd, text, strlen(text)) >= 0;
		if (!written)
			perror(path);
		close(fd);
	}

	return written;
}

static void reset(void)
{
	/* User-mode Linux has no SysRq, and would begin again */
	if (!write_file("/proc/sysrq-trigger", "b"))
		reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	/* The kernel's console */
	fprintf(stderr, "guest-init: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	reset();
	abort();
}

static void must_mount(const char *type, const char *where, const char *options)
{
	if (mount(type, where, type, 0, options))
		fail("cannot mount %s", where);
}

static void make_dirs(const char *const *dirs)
{
	for (; *dirs; dirs++)
		if (mkdir(*dirs, 0755) && errno != EEXIST)
			fail("no folder %s", *dirs);
}

/* A root that can be written to on top of the host's, which goes to /mnt */
static void change_root(void)
{
	static const char *const layers[] = {
		"/mnt/upper", "/mnt/work", "/mnt/root", NULL
	};
	static const char *const dirs[] = {
		"dev", "proc", "sys", "tmp", "run", "mnt", "root", "lib/modules", NULL
	};

	must_mount("proc", "/proc", NULL);
	must_mount("tmpfs", "/mnt", NULL);
	make_dirs(layers);
	must_mount("overlay", "/mnt/root", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work");
	if (chdir("/mnt/root"))
		fail("no root");
	make_dirs(dirs);
	must_mount("devtmpfs", "dev", NULL);
	must_mount("proc", "proc", NULL);
	if (syscall(SYS_pivot_root, ".", "mnt") || chdir("/"))
		fail("cannot change the root");
}

static void link_to(const char *target, const char *path)
{
	if (symlink(target, path) && errno != EEXIST)
		fail("no %s", path);
}

static void set_up(const char *modules)
{
	static const char *const dirs[] = {
		"/dev/pts", "/dev/shm", "/dev/hugepages", NULL
	};
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	must_mount("sysfs", "/sys", NULL);
	make_dirs(dirs);
	must_mount("devpts", "/dev/pts", NULL);
	must_mount("tmpfs", "/dev/shm", "mode=1777");
	must_mount("tmpfs", "/run", NULL);
	/* Not in user-mode Linux */
	if (mount("hugetlbfs", "/dev/hugepages", "hugetlbfs", 0, NULL) && errno != ENODEV)
		fail("cannot mount /dev/hugepages");
	must_mount("debugfs", "/sys/kernel/debug", NULL);
	/* Only a debug kernel has these */
	if (!mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL))
		write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mount(modules, "/lib/modules", NULL, MS_BIND, NULL))
		fail("no modules in %s", modules);
	link_to("/proc/self/fd", "/dev/fd");
	link_to("/proc/self/fd/0", "/dev/stdin");
	link_to("/proc/self/fd/1", "/dev/stdout");
	link_to("/proc/self/fd/2", "/dev/stderr");
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		fail("lo does not come up");
	close(fd);
	write_file("/proc/sys/kernel/panic_on_warn", "1");
}

/* value: of NAME=VALUE in RUN/env; empty if it is not there */
static char *value(const char *name)
{
	char path[4096], *line = NULL, *found = NULL;
	size_t size = 0, length = strlen(name);
	FILE *file;

	snprintf(path, sizeof(path), "%s/env", run);
	file = fopen(path, "re");
	if (!file)
		fail("no %s", path);
	while (!found && getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, name, length) && line[length] == '=')
			found = strdup(line + length + 1);
	}
	free(line);
	fclose(file);
	return found ?: "";
}

/* port: open the virtio port of this name, as soon as it is there */
static int port(const char *name)
{
	char path[512], text[64];
	struct dirent *entry;
	FILE *file;
	DIR *dir;
	int fd;

	for (;; usleep(20000)) {
		dir = opendir("/sys/class/virtio-ports");
		while (dir && (entry = readdir(dir))) {
			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
				 entry->d_name);
			file = fopen(path, "re");
			if (!file)
				continue;
			if (!fgets(text, sizeof(text), file))
				text[0] = '\0';
			fclose(file);
			text[strcspn(text, "\n")] = '\0';
			if (strcmp(text, name))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_WRONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			closedir(dir);
			return fd;
		}
		if (dir)
			closedir(dir);
	}
}

/* terminal: one of user-mode Linux, which leads to a file of the host, as it is */
static int terminal(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	struct termios mode;

	if (fd < 0 || tcgetattr(fd, &mode))
		fail("no %s", path);
	cfmakeraw(&mode);
	if (tcsetattr(fd, TCSANOW, &mode))
		fail("%s is not as it should be", path);
	return fd;
}

/* way_out: to what the host has for "output" or "status" */
static int way_out(const char *name)
{
	if (!*value("VM_UML"))
		return port(name);
	return terminal(strcmp(name, "status") ? "/dev/tty1" : "/dev/tty2");
}

/* say_status: as the last thing */
static void say_status(int code)
{
	int fd = way_out("status");

	dprintf(fd, "%d\n", code);
	tcdrain(fd);
}

static void command(bool interactive)
{
	char path[4096];
	int in, out;

	in = open(interactive ? "/dev/hvc0" : "/dev/null", interactive ? O_RDWR : O_RDONLY);
	out = interactive ? in : way_out("output");
	if (in < 0)
		fail("no terminal");
	if (interactive) {
		setsid();
		ioctl(in, TIOCSCTTY, 1);
	}
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (in > 2)
		close(in);
	snprintf(path, sizeof(path), "%s/command", run);
	execl(path, path, NULL);
	perror(path);
	_exit(127);
}

/* run_command: its exit status, as a shell has it; whatever else ends is reaped */
static int run_command(bool interactive)
{
	pid_t child = fork(), ended;
	int status;

	if (child < 0)
		fail("no process");
	if (!child)
		command(interactive);
	do {
		ended = wait(&status);
	} while (ended != child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * An object counts as leaked when it is five seconds old, and when its content did
 * not change from one scan to the next
 */
static void look_for_leaks(void)
{
	static const char kmemleak[] = "/sys/kernel/debug/kmemleak";
	char text[4096];
	ssize_t size;
	int fd;

	if (access(kmemleak, F_OK))
		return;
	sleep(5);
	/* One that has given up, for want of memory, would find nothing */
	if (!write_file(kmemleak, "scan") || !write_file(kmemleak, "scan"))
		fprintf(stderr, "WARNING: kmemleak does not scan\n");
	fd = open(kmemleak, O_RDONLY);
	while (fd >= 0 && (size = read(fd, text, sizeof(text))) > 0)
		if (write(STDERR_FILENO, text, size) < 0)
			break;
}

int main(int argc, char **argv)
{
	char *folder;
	int code;

	if (argc != 2)
		return 2;
	run = argv[1];
	change_root();
	set_up(value("VM_MODULES"));
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LANG", "C.UTF-8", 1);
	setenv("TERM", value("VM_TERM"), 1);
	folder = value("VM_FOLDER");
	if (chdir(folder))
		fail("no folder %s", folder);
	code = run_command(*value("VM_INTERACTIVE"));
	if (*value("VM_KMEMLEAK"))
		look_for_leaks();
	say_status(code);
	reset();
}

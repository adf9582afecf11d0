/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Claims about vfsfreeze in a FreeBSD kernel, with writers on real mounts.
 *
 *	live INNER DIR...	claims; INNER is held first, and unmounted last
 *	live -n COUNT DIR...	as many holds of all, with writers
 *	live -h SECONDS DIR	holds for as long and never lets go
 *	live -r DIR...		holds all for 120 s and reboots at once
 *
 * This process and its children have no file open on what is held.
 */
#include <sys/param.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ufs/ffs/fs.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../../tests/check.h"
#include "../../vfsfreeze.h"

enum { DIRS_MAX = 16, PATIENCE_MS = 60000, LOOK_MS = 300 };

struct place {
	const char	*dir;
	struct statfs	fs;
	pid_t		writer;
	volatile uint64_t *written;	/* by the writer, in shared memory */
};

static struct place places[DIRS_MAX];
static int count;

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
}

static void
sleep_ms(int ms)
{
	usleep((useconds_t)ms * 1000);
}

static int
opens(void)
{
	struct rlimit none = { 0, 0 };
	int fd = open("/dev/" VFSFREEZE_DEV_NAME, O_RDWR | O_CLOEXEC);

	must_say(fd != -1, "open: %s", strerror(errno));
	setrlimit(RLIMIT_CORE, &none);
	return (fd);
}

/* A child without our descriptors: they would keep what we let go. */
static pid_t
forks(void)
{
	pid_t pid = fork();

	if (pid == 0)
		closefrom(3);
	return (pid);
}

/* Ended by itself: nothing had to expire for it. */
static void
in_time(uint64_t begun)
{
	must_say(now_us() - begun < 25 * 1000000ULL, "only an expiry ended it");
}

static uint32_t
flags_for(const struct place *p)
{
	return (strcmp(p->fs.f_fstypename, "zfs") == 0 ?
	    VFSFREEZE_GATE_ONLY : 0);
}

static int
begin(int fd, const struct place *p, uint32_t ms)
{
	struct vfsfreeze_hold req = { .fsid = p->fs.f_fsid, .hold_ms = ms,
	    .flags = flags_for(p) };

	return (ioctl(fd, VFSFREEZE_HOLD, &req) == -1 ? errno : 0);
}

static struct vfsfreeze_state
state(int fd)
{
	struct vfsfreeze_state st;

	must_equal(ioctl(fd, VFSFREEZE_STATE, &st), 0);
	return (st);
}

/* Waits in poll(2) until the state is another than this. */
static uint32_t
after(int fd, uint32_t what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vfsfreeze_state st;

	do {
		must_say(poll(&p, 1, PATIENCE_MS) == 1, "no change of state");
		st = state(fd);
	} while (st.state == what);
	return (st.state);
}

static void
held(int fd, const struct place *p, uint32_t ms)
{
	uint32_t what;

	must_equal(begin(fd, p, ms), 0);
	what = after(fd, VFSFREEZE_BEGUN);
	must_say(what == VFSFREEZE_HELD, "%s: state %u, %s", p->dir, what,
	    strerror(state(fd).error));
}

static void
let_go(int fd)
{
	must_equal(ioctl(fd, VFSFREEZE_RELEASE), 0);
	must_equal(after(fd, VFSFREEZE_HELD), VFSFREEZE_RELEASED);
}

/*
 * Writers: each appends to a file of its own, and now and then begins anew.
 */
static _Noreturn void
write_on(struct place *p)
{
	char path[MAXPATHLEN], block[4096];
	int fd;

	memset(block, 0x5a, sizeof(block));
	snprintf(path, sizeof(path), "%s/written", p->dir);
	for (;;) {
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		for (int i = 0; fd != -1 && i < 64; i++) {
			if (write(fd, block, sizeof(block)) == sizeof(block))
				(*p->written)++;
			usleep(500);
		}
		close(fd);
	}
}

static void
writers_start(void)
{
	for (int i = 0; i < count; i++) {
		places[i].written = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_ANON | MAP_SHARED, -1, 0);
		places[i].writer = fork();
		if (places[i].writer == 0)
			write_on(&places[i]);
	}
	for (int i = 0; i < count; i++)
		for (int tries = 0; *places[i].written == 0; tries++) {
			must_say(tries < 2000, "%s: no write", places[i].dir);
			sleep_ms(5);
		}
}

static void
writers_end(void)
{
	for (int i = 0; i < count; i++)
		kill(places[i].writer, SIGKILL);
	for (int i = 0; i < count; i++)
		waitpid(places[i].writer, NULL, 0);
}

/* Nothing is written there for a while. */
static void
is_still(const struct place *p)
{
	uint64_t before = *p->written;

	sleep_ms(LOOK_MS);
	must_say(*p->written == before, "%s: written to in the hold", p->dir);
}

/* How long until it is written to, in us. */
static uint64_t
goes_on(const struct place *p)
{
	uint64_t before = *p->written, begun = now_us();

	while (*p->written == before) {
		must_say(now_us() - begun < PATIENCE_MS * 1000ULL,
		    "%s: no write after the hold", p->dir);
		usleep(100);
	}
	return (now_us() - begun);
}

/*
 * The claims.
 */
static void
no_writer_goes_on_in_a_hold_and_each_does_at_its_end(void)
{
	int fd;

	for (int i = 0; i < count; i++) {
		fd = opens();
		held(fd, &places[i], 30000);
		must(state(fd).flags != 0);
		is_still(&places[i]);
		let_go(fd);
		printf("# %s (%s): begun %ju us, writers on after %ju us\n",
		    places[i].dir, places[i].fs.f_fstypename,
		    (uintmax_t)state(fd).begin_us,
		    (uintmax_t)goes_on(&places[i]));
		close(fd);
	}
}

static void
all_are_begun_inner_first_and_let_go_in_that_order(void)
{
	int fds[DIRS_MAX];
	uint64_t begun = now_us(), ended;

	for (int i = 0; i < count; i++)
		held(fds[i] = opens(), &places[i], 60000);
	printf("# %d held after %ju us\n", count, (uintmax_t)(now_us() -
	    begun));
	for (int i = 0; i < count; i++)
		is_still(&places[i]);
	begun = now_us();
	for (int i = 0; i < count; i++)
		ioctl(fds[i], VFSFREEZE_RELEASE);
	for (int i = 0; i < count; i++)
		must_equal(after(fds[i], VFSFREEZE_HELD), VFSFREEZE_RELEASED);
	ended = now_us();
	for (int i = 0; i < count; i++)
		goes_on(&places[i]);
	printf("# %d let go in %ju us, all writers on after %ju us\n", count,
	    (uintmax_t)(ended - begun), (uintmax_t)(now_us() - begun));
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* Those that do not lie in another: all but the first. */
static void
those_of_one_level_are_begun_at_once(void)
{
	int fds[DIRS_MAX];
	uint64_t begun = now_us();

	for (int i = 1; i < count; i++)
		must_equal(begin(fds[i] = opens(), &places[i], 60000), 0);
	printf("# %d requests took %ju us\n", count - 1,
	    (uintmax_t)(now_us() - begun));
	for (int i = 1; i < count; i++)
		must_equal(after(fds[i], VFSFREEZE_BEGUN), VFSFREEZE_HELD);
	printf("# and held after %ju us\n", (uintmax_t)(now_us() - begun));
	for (int i = 1; i < count; i++)
		close(fds[i]);
	for (int i = 1; i < count; i++)
		goes_on(&places[i]);
}

static void
stores_to_a_shared_mapping_in_the_hold_are_kept(void)
{
	char path[MAXPATHLEN];
	volatile uint32_t *p;
	int fd, file;

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/mapped", places[i].dir);
		file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		must(file != -1 && ftruncate(file, 65536) == 0);
		p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED,
		    file, 0);
		must(p != MAP_FAILED);
		close(file);
		p[0] = p[4096] = 1;
		fd = opens();
		held(fd, &places[i], 30000);
		p[0] = p[4096] = 2;
		let_go(fd);
		must_equal(p[0], 2);
		must_equal(p[4096], 2);
		close(fd);
		munmap((void *)(uintptr_t)p, 65536);
	}
}

static void
the_kernel_lets_go_by_itself_when_the_time_is_over(void)
{
	uint64_t begun = now_us(), took;
	int fd = opens();

	held(fd, &places[0], 1500);
	must_equal(after(fd, VFSFREEZE_HELD), VFSFREEZE_EXPIRED);
	took = now_us() - begun;
	must_say(took >= 1500000 && took < 4000000, "after %ju us",
	    (uintmax_t)took);
	goes_on(&places[0]);
	close(fd);
}

static void
a_killed_holder_holds_nothing(void)
{
	int told[2];
	char c;
	pid_t holder;

	must(pipe(told) == 0);
	holder = fork();
	if (holder == 0) {
		held(opens(), &places[0], 30000);
		(void)!write(told[1], "h", 1);
		for (;;)
			pause();
	}
	must(read(told[0], &c, 1) == 1);
	is_still(&places[0]);
	kill(holder, SIGKILL);
	goes_on(&places[0]);
	waitpid(holder, NULL, 0);
	close(told[0]);
	close(told[1]);
}

static void
a_second_hold_of_it_is_refused_at_once(void)
{
	int fd = opens(), other = opens();

	held(fd, &places[0], 30000);
	must_equal(begin(other, &places[0], 30000), EBUSY);
	must_equal(begin(fd, &places[1], 30000), EBUSY);
	let_go(fd);
	held(other, &places[0], 30000);
	close(other);
	close(fd);
	goes_on(&places[0]);
}

static void
kevent_reports_each_change(void)
{
	struct timespec patience = { PATIENCE_MS / 1000, 0 };
	struct kevent ev;
	int fd = opens(), kq = kqueue();

	EV_SET(&ev, fd, EVFILT_READ, EV_ADD, 0, 0, NULL);
	must_equal(kevent(kq, &ev, 1, NULL, 0, NULL), 0);
	must_equal(begin(fd, &places[0], 30000), 0);
	must_equal(kevent(kq, NULL, 0, &ev, 1, &patience), 1);
	must_equal(state(fd).state, VFSFREEZE_HELD);
	must_equal(ioctl(fd, VFSFREEZE_RELEASE), 0);
	must_equal(kevent(kq, NULL, 0, &ev, 1, &patience), 1);
	must_equal(state(fd).state, VFSFREEZE_RELEASED);
	close(kq);
	close(fd);
}

static void
a_flush_ends_while_writers_go_on(void)
{
	int fd = opens();
	uint64_t begun;

	for (int i = 0; i < count; i++) {
		struct vfsfreeze_flush req = { .fsid = places[i].fs.f_fsid };

		begun = now_us();
		must_equal(ioctl(fd, VFSFREEZE_FLUSH, &req), 0);
		printf("# %s: flushed in %ju us\n", places[i].dir,
		    (uintmax_t)(now_us() - begun));
		goes_on(&places[i]);
	}
	held(fd, &places[0], 30000);
	struct vfsfreeze_flush req = { .fsid = places[0].fs.f_fsid };
	must(ioctl(fd, VFSFREEZE_FLUSH, &req) == -1 && errno == EBUSY);
	close(fd);
	goes_on(&places[0]);
}

static void
what_no_hold_can_mean_is_refused(void)
{
	struct vfsfreeze_hold req = { .hold_ms = 5000 };
	struct place devfs = { .dir = "/dev" };
	int fd = opens(), reader;

	must_equal(statfs("/dev", &devfs.fs), 0);
	must_equal(begin(fd, &devfs, 5000), EOPNOTSUPP);
	must_equal(begin(fd, &places[0], 0), EINVAL);
	must_equal(begin(fd, &places[0], 600001), EINVAL);
	memset(&req.fsid, 0x77, sizeof(req.fsid));
	must(ioctl(fd, VFSFREEZE_HOLD, &req) == -1 && errno == ENOENT);
	req.fsid = places[0].fs.f_fsid;
	req.reserved[0] = 1;
	must(ioctl(fd, VFSFREEZE_HOLD, &req) == -1 && errno == EINVAL);
	must(ioctl(fd, _IO('V', 99)) == -1 && errno == ENOTTY);
	must(ioctl(fd, VFSFREEZE_RELEASE) == -1 && errno == EINVAL);
	reader = open("/dev/" VFSFREEZE_DEV_NAME, O_RDONLY | O_CLOEXEC);
	must(reader != -1);
	must_equal(begin(reader, &places[0], 5000), EPERM);
	close(reader);
	close(fd);
}

/* UFSSUSPEND and a snapshot wait for the end of the hold, and go through. */
static void
anothers_suspension_waits_for_the_end_of_the_hold(void)
{
	const struct place *p = &places[1];
	uint64_t begun = now_us();
	int fd = opens(), status;
	pid_t other;

	held(fd, p, 30000);
	other = forks();
	if (other == 0) {
		fsid_t id = p->fs.f_fsid;
		int ufs = open("/dev/ufssuspend", O_RDWR);

		_exit(ufs == -1 || ioctl(ufs, UFSSUSPEND, &id) == -1);
	}
	sleep_ms(LOOK_MS);
	must_equal(waitpid(other, &status, WNOHANG), 0);
	close(fd);
	must_equal(waitpid(other, &status, 0), other);
	must_equal(status, 0);
	in_time(begun);
	goes_on(p);
}

static void
a_snapshot_waits_for_the_end_of_the_hold(void)
{
	char command[3 * MAXPATHLEN];
	uint64_t begun = now_us();
	int fd = opens(), status;
	pid_t other;

	snprintf(command, sizeof(command), "mksnap_ffs %s %s/.snap/live && "
	    "rm -f %s/.snap/live", places[1].dir, places[1].dir,
	    places[1].dir);
	held(fd, &places[1], 30000);
	other = forks();
	if (other == 0)
		_exit(system(command) != 0);
	sleep_ms(1000);
	must_equal(waitpid(other, &status, WNOHANG), 0);
	close(fd);
	must_equal(waitpid(other, &status, 0), other);
	must_equal(status, 0);
	in_time(begun);
	goes_on(&places[1]);
}

/* Dirty pages of a mapping pile up; only the expiry lets them be written. */
static void
memory_pressure_ends_with_the_hold(void)
{
	size_t size = 24 << 20;
	char path[MAXPATHLEN];
	volatile char *p;
	int fd, file;

	snprintf(path, sizeof(path), "%s/large", places[1].dir);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(file != -1 && ftruncate(file, (off_t)size) == 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(p != MAP_FAILED);
	close(file);
	fd = opens();
	held(fd, &places[1], 3000);
	for (size_t at = 0; at < size; at += 4096)
		p[at] = 1;
	must_equal(after(fd, VFSFREEZE_HELD), VFSFREEZE_EXPIRED);
	must_equal(msync((void *)(uintptr_t)p, size, MS_SYNC), 0);
	munmap((void *)(uintptr_t)p, size);
	unlink(path);
	close(fd);
	goes_on(&places[1]);
}

/* Last: the first mount is gone afterwards. */
static void
an_unmount_in_the_hold_waits_and_then_goes_through(void)
{
	uint64_t begun = now_us();
	int fds[DIRS_MAX], status;
	pid_t other;

	for (int i = 0; i < count; i++)
		held(fds[i] = opens(), &places[i], 60000);
	other = forks();
	if (other == 0)
		_exit(unmount(places[0].dir, 0) == -1 ? errno : 0);
	sleep_ms(1000);
	must_equal(waitpid(other, &status, WNOHANG), 0);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	must_equal(waitpid(other, &status, 0), other);
	must_equal(WEXITSTATUS(status), 0);
	in_time(begun);
}

static void
holds_of_all(int times)
{
	uint64_t worst = 0, took, begun;
	int fds[DIRS_MAX];

	for (int n = 0; n < times; n++) {
		for (int i = 0; i < count; i++)
			held(fds[i] = opens(), &places[i], 60000);
		for (int i = 0; i < count; i++)
			places[i].fs.f_iosize = *places[i].written;
		sleep_ms(20);
		for (int i = 0; i < count; i++)
			must_say(*places[i].written == places[i].fs.f_iosize,
			    "%s: written to in hold %d", places[i].dir, n);
		begun = now_us();
		for (int i = 0; i < count; i++)
			ioctl(fds[i], VFSFREEZE_RELEASE);
		for (int i = 0; i < count; i++)
			must_equal(after(fds[i], VFSFREEZE_HELD),
			    VFSFREEZE_RELEASED);
		took = now_us() - begun;
		worst = MAX(worst, took);
		for (int i = 0; i < count; i++) {
			goes_on(&places[i]);
			close(fds[i]);
		}
	}
	printf("# %d holds of %d filesystems with writers: let go within "
	    "%ju us\n", times, count, (uintmax_t)worst);
}

static int times;

static void
many_holds_of_all_with_writers_end_well(void)
{
	writers_start();
	holds_of_all(times);
	writers_end();
}

static void
looks_at(int argc, char **argv)
{
	for (int i = 0; i < argc && count < DIRS_MAX; i++) {
		places[count].dir = argv[i];
		if (statfs(argv[i], &places[count].fs) == -1) {
			printf("%s: %s\n", argv[i], strerror(errno));
			exit(2);
		}
		count++;
	}
}

int
main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "-n") == 0) {
		times = atoi(argv[2]);
		looks_at(argc - 3, argv + 3);
		holds(many_holds_of_all_with_writers_end_well);
		return (check_result());
	}
	if (argc == 4 && strcmp(argv[1], "-h") == 0) {
		looks_at(1, argv + 3);
		if (setjmp(check_failed) != 0)
			return (EXIT_FAILURE);
		held(opens(), &places[0], (uint32_t)atoi(argv[2]) * 1000);
		printf("held\n");
		fflush(stdout);
		for (;;)
			pause();
	}
	if (argc > 2 && strcmp(argv[1], "-r") == 0) {
		looks_at(argc - 2, argv + 2);
		if (setjmp(check_failed) != 0)
			return (EXIT_FAILURE);
		for (int i = 0; i < count; i++)
			held(opens(), &places[i], 120000);
		printf("%d held for 120 s; reboot at uptime %ju s\n", count,
		    (uintmax_t)(now_us() / 1000000));
		fflush(stdout);
		return (reboot(RB_AUTOBOOT));
	}
	if (argc < 3) {
		printf("usage: live INNER DIR...\n");
		return (2);
	}
	looks_at(argc - 1, argv + 1);
	writers_start();
	holds(no_writer_goes_on_in_a_hold_and_each_does_at_its_end);
	holds(all_are_begun_inner_first_and_let_go_in_that_order);
	holds(those_of_one_level_are_begun_at_once);
	holds(stores_to_a_shared_mapping_in_the_hold_are_kept);
	holds(the_kernel_lets_go_by_itself_when_the_time_is_over);
	holds(a_killed_holder_holds_nothing);
	holds(a_second_hold_of_it_is_refused_at_once);
	holds(kevent_reports_each_change);
	holds(a_flush_ends_while_writers_go_on);
	holds(what_no_hold_can_mean_is_refused);
	holds(anothers_suspension_waits_for_the_end_of_the_hold);
	holds(a_snapshot_waits_for_the_end_of_the_hold);
	holds(memory_pressure_ends_with_the_hold);
	writers_end();
	holds(an_unmount_in_the_hold_waits_and_then_goes_through);
	return (check_result());
}

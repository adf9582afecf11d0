/*
 * Suspends filesystems for some seconds, in the order given, and resumes them
 * in the same order, or with -r in reverse.
 *
 *	cc -o hold hold.c
 *	./hold [-r] seconds directory ...
 *
 * With an inner and an outer filesystem, "hold -r 10 /outer/inner /outer" and
 * "umount /outer/inner" meanwhile, the kernel never resumes anything again.
 * Without -r both calls end. A reset may be needed: try it on a machine that
 * can be lost.
 */
#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <ufs/ffs/fs.h>

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
resume(int fd, const char *on)
{

	if (ioctl(fd, UFSRESUME) == -1)
		warn("UFSRESUME %s", on);
	else
		printf("resumed %s\n", on);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct statfs about;
	int count, *fds, i, reverse, seconds;

	reverse = argc > 1 && strcmp(argv[1], "-r") == 0;
	argc -= reverse + 1;
	argv += reverse + 1;
	if (argc < 2)
		errx(64, "usage: hold [-r] seconds directory ...");
	seconds = atoi(argv[0]);
	count = argc - 1;
	fds = calloc(count, sizeof(*fds));
	if (fds == NULL)
		err(1, "calloc");
	for (i = 0; i < count; i++) {
		if (statfs(argv[i + 1], &about) == -1)
			err(1, "%s", argv[i + 1]);
		fds[i] = open("/dev/ufssuspend", O_RDWR | O_CLOEXEC);
		if (fds[i] == -1)
			err(1, "/dev/ufssuspend");
		/* The process may have neither threads nor disk files open. */
		if (ioctl(fds[i], UFSSUSPEND, &about.f_fsid) == -1)
			err(1, "UFSSUSPEND %s", argv[i + 1]);
	}
	printf("suspended for %d seconds\n", seconds);
	fflush(stdout);
	sleep(seconds);
	for (i = 0; i < count; i++)
		resume(fds[reverse ? count - 1 - i : i],
		    argv[1 + (reverse ? count - 1 - i : i)]);
	return (0);
}

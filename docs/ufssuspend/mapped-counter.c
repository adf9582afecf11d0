/*
 * Counts in a shared mapping of a file, and says when the file has gone back.
 *
 *	cc -o mapped-counter mapped-counter.c
 *	./mapped-counter /mnt/counter &
 *	./hold 3 /mnt
 *
 * Every count that was stored between the UFSSUSPEND and the UFSRESUME is
 * gone: "went back from 4711 to 1743".
 */
#include <sys/mman.h>

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	volatile uint64_t *counter;
	uint64_t count;
	int fd;

	if (argc != 2)
		errx(64, "usage: mapped-counter file");
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd == -1 || ftruncate(fd, getpagesize()) == -1)
		err(1, "%s", argv[1]);
	counter = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, 0);
	if (counter == MAP_FAILED)
		err(1, "mmap");
	for (count = *counter;; usleep(1000)) {
		if (*counter < count) {
			printf("went back from %ju to %ju\n", (uintmax_t)count,
			    (uintmax_t)*counter);
			fflush(stdout);
		}
		count = *counter + 1;
		*counter = count;
	}
}

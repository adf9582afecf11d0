/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Another program that uses a pool.  It shares nothing with the code under
 * test but the format and the locking of FreeBSD's hv_kvp_daemon(8): it reads
 * all of the file under a write lock and drops that lock, changes its copy, and
 * writes all of it, truncated, under another lock.  A removed record's place is
 * taken by the next ones, text by text, so that what was behind the old text's
 * end stays.
 *
 *	hammer list FILE	the keys and values, a line each
 *	hammer set FILE KEY VALUE
 *	hammer run FILE		changes keys of its own until its standard
 *				input ends, and looks at all of them each time
 *	hammer careful FILE	the same under one lock each time, as a program
 *				should, beside kvp-report or not
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct record {
	char	key[512];
	char	value[2048];
};

#define	MOST	4096
#define	OWN	8

static struct record records[MOST];
static size_t count;
static int lock_fd;
static const char *file;
static char expected[OWN][2048];	/* an empty one: there is no such key */
static unsigned long rounds;
static int careful;		/* the lock is held from reading to writing */

static void
fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("round %lu: ", rounds);
	vprintf(format, arguments);
	printf("\n");
	exit(1);
}

static void
lock(short type, int command)
{
	struct flock whole = { .l_type = type, .l_whence = SEEK_SET };

	if (fcntl(lock_fd, command, &whole) == -1)
		fail("fcntl: %s", strerror(errno));
}

static void
read_all(void)
{
	FILE *stream;
	ssize_t got;

	lock(F_WRLCK, F_SETLKW);
	if (careful) {
		/* Closing another descriptor of the file would drop the lock. */
		got = pread(lock_fd, records, sizeof(records), 0);
		if (got == -1 || got % (ssize_t)sizeof(records[0]) != 0)
			fail("%zd bytes were read", got);
		count = (size_t)got / sizeof(records[0]);
		return;
	}
	if ((stream = fopen(file, "r")) == NULL)
		fail("%s: %s", file, strerror(errno));
	count = fread(records, sizeof(records[0]), MOST, stream);
	if (fgetc(stream) != EOF)
		fail("there is more than %zu whole records", count);
	fclose(stream);
	lock(F_UNLCK, F_SETLK);
}

static void
write_all(void)
{
	FILE *stream;
	size_t size = count * sizeof(records[0]);

	if (careful) {
		if (pwrite(lock_fd, records, size, 0) != (ssize_t)size || ftruncate(lock_fd, (off_t)size) != 0)
			fail("%s can't be written", file);
		lock(F_UNLCK, F_SETLK);
		return;
	}
	lock(F_WRLCK, F_SETLKW);
	if ((stream = fopen(file, "w")) == NULL)
		fail("%s: %s", file, strerror(errno));
	if (fwrite(records, sizeof(records[0]), count, stream) != count || fclose(stream) != 0)
		fail("%s can't be written", file);
	lock(F_UNLCK, F_SETLK);
}

static struct record *
find(const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(records[i].key, key) == 0)
			return (&records[i]);
	return (NULL);
}

static void
set(const char *key, const char *value)
{
	struct record *record;

	read_all();
	if ((record = find(key)) == NULL) {
		record = &records[count++];
		memset(record, 0, sizeof(*record));
		strcpy(record->key, key);
	}
	strcpy(record->value, value);
	write_all();
}

static void
delete(const char *key)
{
	struct record *record;

	read_all();
	if ((record = find(key)) == NULL) {
		lock(F_UNLCK, F_SETLK);
		return;
	}
	for (; record + 1 < records + count; record++) {
		strcpy(record[0].key, record[1].key);
		strcpy(record[0].value, record[1].value);
	}
	count--;
	write_all();
}

static const char *
value_of(const char *key)
{
	struct record *record = find(key);

	if (record == NULL)
		fail("there is no %s", key);
	return (record->value);
}

/* Its own keys are as it left them, and what the plugin keeps is there and of one cycle. */
static void
look(void)
{
	static const char *const kept[] = { "HvVssState", "HvVssLastResult", "HvVssLastReason", "HvVssLastCycle", "HvVssLastTime",
	    "HvVssFrozenMs", "HvVssDaemonVersion" };
	char key[32], reason[256];

	read_all();
	for (unsigned own = 0; own < OWN; own++) {
		struct record *record;

		snprintf(key, sizeof(key), "Hammer%u", own);
		record = find(key);
		if (record == NULL && expected[own][0] != '\0')
			fail("%s was lost", key);
		if (record != NULL && strcmp(record->value, expected[own]) != 0)
			fail("%s is \"%s\" and was left as \"%s\"", key, record->value, expected[own]);
	}
	if (careful) {
		lock(F_UNLCK, F_SETLK);
		if (strcmp(value_of("Stranger"), "keeps still") != 0)
			fail("Stranger is \"%s\"", value_of("Stranger"));
		return;
	}
	for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		value_of(kept[i]);
	snprintf(reason, sizeof(reason), "the reason of %s", value_of("HvVssLastCycle"));
	if (strcmp(reason, value_of("HvVssLastReason")) != 0)
		fail("cycle %s has the reason \"%s\"", value_of("HvVssLastCycle"), value_of("HvVssLastReason"));
	if (strcmp(value_of("Stranger"), "keeps still") != 0)
		fail("Stranger is \"%s\"", value_of("Stranger"));
}

static int
input_has_ended(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };

	return (poll(&input, 1, 0) != 0);
}

int
main(int argc, char **argv)
{
	unsigned dice = 1;

	if (argc < 3)
		return (64);
	file = argv[2];
	if ((lock_fd = open(file, O_RDWR | O_CREAT, 0600)) == -1)
		fail("%s: %s", file, strerror(errno));
	if (strcmp(argv[1], "list") == 0) {
		read_all();
		for (size_t i = 0; i < count; i++)
			printf("%s\t%s\n", records[i].key, records[i].value);
	} else if (strcmp(argv[1], "set") == 0 && argc == 5) {
		set(argv[3], argv[4]);
	} else if (strcmp(argv[1], "run") == 0 || strcmp(argv[1], "careful") == 0) {
		careful = argv[1][0] == 'c';
		for (; !input_has_ended(); rounds++) {
			unsigned own;
			char key[32];

			look();
			dice = dice * 1103515245 + 12345;
			own = (dice >> 16) % OWN;
			snprintf(key, sizeof(key), "Hammer%u", own);
			if ((dice >> 20) % 4 == 0) {
				delete(key);
				expected[own][0] = '\0';
			} else {
				snprintf(expected[own], sizeof(expected[own]), "%lu %.*s", rounds, (int)((dice >> 22) % 900),
				    "................................................................................");
				set(key, expected[own]);
			}
			/* Without this it would have the lock again before anybody else could wake up. */
			usleep(100);
		}
		look();
		printf("%lu rounds\n", rounds);
	} else {
		return (64);
	}
	return (0);
}

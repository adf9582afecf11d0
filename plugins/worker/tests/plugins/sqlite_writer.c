/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The application in the test of the SQLite example: inserts one row after the other, each in a transaction of its own, and prints the
 * number of the last one that was committed.  Ends when its stdin does.
 *
 *	sqlite_writer DATABASE		writes
 *	sqlite_writer DATABASE count	prints the integrity check's result and the highest number in the database
 */
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static void
run(sqlite3 *db, const char *statement, int (*row)(void *, int, char **, char **))
{
	char *error = NULL;

	if (sqlite3_exec(db, statement, row, NULL, &error) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", statement, error);
		exit(1);
	}
}

static int
show(void *nothing, int columns, char **values, char **names)
{
	(void)nothing, (void)columns, (void)names;
	puts(values[0] == NULL ? "0" : values[0]);
	return (0);
}

int
main(int argc, char **argv)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	char statement[64];
	sqlite3 *db;

	if (argc < 2 || sqlite3_open(argv[1], &db) != SQLITE_OK)
		return (1);
	sqlite3_busy_timeout(db, 30000);
	if (argc > 2) {
		run(db, "PRAGMA integrity_check", show);
		run(db, "SELECT max(number) FROM row", show);
		return (sqlite3_close(db));
	}
	run(db, "PRAGMA journal_mode=WAL", NULL);
	run(db, "CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, filling TEXT)", NULL);
	for (int number = 1; poll(&input, 1, 1) == 0; number++) {
		snprintf(statement, sizeof(statement), "INSERT INTO row VALUES (%d, hex(randomblob(500)))", number);
		run(db, statement, NULL);
		printf("%d\n", number);
		fflush(stdout);
	}
	return (sqlite3_close(db));
}

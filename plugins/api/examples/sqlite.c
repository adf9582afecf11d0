/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * An example of an application plugin: holds a SQLite database in WAL mode at rest while the backup is taken.
 *
 *	cc -std=c11 -shared -fPIC -I /usr/local/include -o sqlite.so sqlite.c -L /usr/local/lib -lsqlite3
 *
 *	[plugin.sqlite]
 *	database = "/var/db/app/app.db"
 *
 * Two connections do it.  The first begins a transaction and thereby becomes the only writer, but writes nothing.  The second
 * then copies what is in the WAL into the database file; nobody can add to it meanwhile.  From there until the thaw the file alone holds
 * every transaction.  The application's own writers wait in SQLite's busy handler: their busy_timeout must be longer than a freeze,
 * which is some seconds.  Readers go on undisturbed.
 */
#include <hv_vss_plugin.h>

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rest {
	sqlite3	*writer;	/* holds the write lock while frozen */
	sqlite3	*copier;	/* moves the WAL into the database */
	char	*path;
	bool	 holding;
};

/* "PATH: can't do it: SQLite's own words". */
static int32_t
failed(const struct rest *rest, sqlite3 *db, const char *doing, char *reason, size_t reason_size)
{
	snprintf(reason, reason_size, "the database %s: can't %s: %s", rest->path, doing, sqlite3_errmsg(db));
	return (HV_VSS_REFUSED);
}

static void
let_go(struct rest *rest)
{
	sqlite3_close(rest->writer);
	sqlite3_close(rest->copier);
	sqlite3_free(rest->path);
	free(rest);
}

/* The database must be there already: a plugin that creates an empty one would hide a typing error. */
static int
connect_to(const char *path, sqlite3 **db)
{
	int error;

	error = sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	return (error == SQLITE_OK ? sqlite3_exec(*db, "PRAGMA schema_version", NULL, NULL, NULL) : error);
}

static int
is_wal(void *answer, int columns, char **values, char **names)
{
	(void)names;
	*(bool *)answer = columns == 1 && values[0] != NULL && strcmp(values[0], "wal") == 0;
	return (0);
}

static int32_t
sqlite_open(const struct hv_vss_opening *opening, void **self, char *reason, size_t reason_size)
{
	const char *path = NULL;
	struct rest *rest;

	for (uint32_t i = 0; i < opening->setting_count; i++) {
		if (strcmp(opening->settings[i]->key, "database") == 0) {
			path = opening->settings[i]->value;
		} else {
			snprintf(reason, reason_size, "unknown setting %s: there is database", opening->settings[i]->key);
			return (HV_VSS_REFUSED);
		}
	}
	if (path == NULL) {
		snprintf(reason, reason_size, "the setting database is missing: which file is to be held at rest?");
		return (HV_VSS_REFUSED);
	}
	rest = calloc(1, sizeof(*rest));
	if (rest == NULL || (rest->path = sqlite3_mprintf("%s", path)) == NULL) {
		free(rest);
		snprintf(reason, reason_size, "out of memory");
		return (HV_VSS_BROKEN);
	}
	if (connect_to(path, &rest->writer) != SQLITE_OK) {
		failed(rest, rest->writer, "open it", reason, reason_size);
		let_go(rest);
		return (HV_VSS_REFUSED);
	}
	if (connect_to(path, &rest->copier) != SQLITE_OK) {
		failed(rest, rest->copier, "open it", reason, reason_size);
		let_go(rest);
		return (HV_VSS_REFUSED);
	}
	*self = rest;
	return (HV_VSS_DONE);
}

static int32_t
sqlite_check(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	struct rest *rest = self;
	bool wal = false;

	(void)step;
	if (sqlite3_exec(rest->copier, "PRAGMA journal_mode", is_wal, &wal, NULL) != SQLITE_OK)
		return (failed(rest, rest->copier, "read it", reason, reason_size));
	if (!wal) {
		snprintf(reason, reason_size, "the database %s is not in WAL mode: set it once with PRAGMA journal_mode=WAL",
		    rest->path);
		return (HV_VSS_REFUSED);
	}
	return (HV_VSS_DONE);
}

static int32_t
sqlite_freeze(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	const struct hv_vss_host *host = step->host;
	struct rest *rest = self;
	int error, in_wal, copied;
	char line[128];

	/* Become the only writer.  A short wait at a time, so that we notice when the backup is given up. */
	sqlite3_busy_timeout(rest->writer, 50);
	while ((error = sqlite3_exec(rest->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL)) == SQLITE_BUSY) {
		if (host->cancelled(host)) {
			snprintf(reason, reason_size, "the database %s was being written all the time", rest->path);
			return (HV_VSS_REFUSED);
		}
	}
	if (error != SQLITE_OK)
		return (failed(rest, rest->writer, "become its only writer", reason, reason_size));
	rest->holding = true;

	/* A reader of an old state may keep a part in the WAL.  That is no failure: the WAL is in the backup, too, and nobody adds to it. */
	error = sqlite3_wal_checkpoint_v2(rest->copier, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_wal, &copied);
	if (error != SQLITE_OK && error != SQLITE_BUSY)
		return (failed(rest, rest->copier, "copy its WAL into it", reason, reason_size));
	snprintf(line, sizeof(line), "at rest; %d of %d pages of the WAL are in the database", copied, in_wal);
	host->log(host, HV_VSS_LOG_INFO, line);
	return (HV_VSS_DONE);
}

static int32_t
sqlite_thaw(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	struct rest *rest = self;

	(void)step;
	/* Nothing was written in the transaction, so to end it is only to unlock. */
	if (rest->holding && sqlite3_exec(rest->writer, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		return (failed(rest, rest->writer, "let its writers go on", reason, reason_size));
	rest->holding = false;
	return (HV_VSS_DONE);
}

static void
sqlite_close(void *self)
{
	let_go(self);
}

static const struct hv_vss_plugin plugin = {
	.size = sizeof(plugin),
	.abi = HV_VSS_PLUGIN_ABI,
	.roles = HV_VSS_ROLE_APPLICATION,
	.name = "sqlite",
	.version = "1.0",
	.description = "Holds a SQLite database in WAL mode at rest",
	.open = sqlite_open,
	.check = sqlite_check,
	.freeze = sqlite_freeze,
	.thaw = sqlite_thaw,
	.close = sqlite_close,
};

HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
	return (&plugin);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The vendor's plugin of the fault matrix.  In each call it says in the record that it has begun; if there is a gate for the call (a FIFO), it
 * waits there for an order and does what it says; then it says that it has ended.  Compiled with -DCLAIMER it is a filesystem plugin that
 * claims nothing and is asked between ufs and zfs_veto.
 *
 * Setting: directory = where record and gates are.
 */
#include "hv_vss_plugin.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef CLAIMER
#define	NAME	"claimer"
#define	ROLES	HV_VSS_ROLE_FILESYSTEM
#define	NUMBER	95
#else
#define	NAME	"vendor"
#define	ROLES	HV_VSS_ROLE_APPLICATION
#define	NUMBER	20
#endif

static char directory[512];

static void
say(const char *call, const char *what)
{
	char path[600], line[160];
	struct timespec now;
	int fd, length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof(line), NAME " %s %s %d %lld.%02ld -\n", call, what, (int)getpid(),
	    (long long)now.tv_sec, now.tv_nsec / 10000000);
	snprintf(path, sizeof(path), "%s/record", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, length) != length)
		abort();
	close(fd);
}

/* The order that waits at the gate, or "go" where there is none. */
static const char *
order(const char *call)
{
	static char text[32];
	char path[600];
	size_t length = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/gates/" NAME "-%s", directory, call);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ("go");
	while (length < sizeof(text) - 1 && read(fd, text + length, 1) == 1 && text[length] != '\n')
		length++;
	text[length] = '\0';
	close(fd);
	return (text);
}

static int32_t
called(const char *call)
{
	static const char garbage[48] = "\xff\xff\xff\x7fthis is no message, and no length either";
	const struct timespec slow = { 0, 300000000 };
	const char *what;

	say(call, "began");
	what = order(call);
	if (strcmp(what, "exit") == 0)
		_exit(0);
	else if (strcmp(what, "hang") == 0)
		for (;;)
			pause();
	else if (strcmp(what, "slow") == 0)
		nanosleep(&slow, NULL);
	else if (strcmp(what, "garbage") == 0)
		(void)!write(3, garbage, sizeof(garbage));
	else if (strcmp(what, "closed-socket") == 0)
		shutdown(3, SHUT_RDWR);
	say(call, "ended");
	return (HV_VSS_DONE);
}

static int32_t
plugin_open(const struct hv_vss_opening *opening, void **self, char *reason, size_t size)
{
	for (uint32_t i = 0; i < opening->setting_count; i++)
		if (strcmp(opening->settings[i]->key, "directory") == 0)
			snprintf(directory, sizeof(directory), "%s", opening->settings[i]->value);
	if (directory[0] == '\0') {
		snprintf(reason, size, "it needs the setting directory");
		return (HV_VSS_REFUSED);
	}
	*self = directory;
	return (HV_VSS_DONE);
}

static int32_t
plugin_check(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	(void)self, (void)step, (void)reason, (void)size;
#ifdef CLAIMER
	return (HV_VSS_DONE);
#else
	return (called("check"));
#endif
}

static int32_t
plugin_claim(void *self, const struct hv_vss_step *step, const struct hv_vss_mount *mount, char *reason, size_t size)
{
	(void)self, (void)step, (void)mount, (void)reason, (void)size;
	called("claim");
	return (HV_VSS_CLAIM_NOT_MINE);
}

static int32_t
plugin_freeze(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	(void)self, (void)step, (void)reason, (void)size;
	return (called("freeze"));
}

static int32_t
plugin_thaw(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	(void)self, (void)step, (void)reason, (void)size;
	return (called("thaw"));
}

static void
plugin_close(void *self)
{
	(void)self;
}

static const struct hv_vss_plugin table = {
	.size = sizeof(struct hv_vss_plugin),
	.abi = HV_VSS_PLUGIN_ABI,
	.roles = ROLES,
	.number = NUMBER,
	.name = NAME,
	.version = "1.0",
	.description = "A plugin of the fault matrix",
	.open = plugin_open,
	.check = plugin_check,
	.claim = plugin_claim,
	.freeze = plugin_freeze,
	.thaw = plugin_thaw,
	.close = plugin_close,
};

HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
	return (&table);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The plugin of the host's tests: well-behaved by default, and as hostile as its settings ask for.
 *
 * Settings: in = the call in which it misbehaves, do = how, once = a file that it makes then, and while it is there it behaves; trace = a
 * file that gets a line for each call, so that a test can see what was called when nobody was left to be told.  What must go wrong before
 * any setting is read is chosen with -D when it is compiled.
 */
#include "hv_vss_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef ROLES
#define	ROLES	HV_VSS_ROLE_APPLICATION
#endif
#ifndef FLAGS
#define	FLAGS	0
#endif

struct state {
	char	in[32], what[32], once[1024], trace[1024];
	const struct hv_vss_host *host;
	const struct hv_vss_step *kept;
};

static void
trace(const struct state *state, const char *call, const struct hv_vss_step *step)
{
	static const char *const outcomes[] = { "ok", "aborted", "expired", "recovered", "restored" };
	char line[256];
	int fd, length;

	if (state->trace[0] == '\0')
		return;
	length = snprintf(line, sizeof(line), "%s %s", call, step == NULL ? "-" : outcomes[step->outcome]);
	if (step != NULL && (step->role & HV_VSS_ROLE_FILESYSTEM) != 0)
		length += snprintf(line + length, sizeof(line) - length, " %s", step->mounts[0]->on);
	for (uint32_t i = 0; step != NULL && i < step->owed_count; i++)
		length += snprintf(line + length, sizeof(line) - length, " owed:%s", step->owed[i]);
	line[length++] = '\n';
	fd = open(state->trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, length) != length)
		abort();
	close(fd);
}

static void *
idle(void *nothing)
{
	for (;;)
		pause();
	return (nothing);
}

static int32_t
misbehave(struct state *state, const struct hv_vss_step *step, char *reason, size_t size)
{
	const char *what = state->what;
	const struct hv_vss_host *host = state->host;
	static volatile int *nowhere;
	volatile unsigned spins = 0;
	pthread_t thread;
	sigset_t set;

	if (strcmp(what, "refuse") == 0) {
		snprintf(reason, size, "the queue is not empty");
		return (HV_VSS_REFUSED);
	} else if (strcmp(what, "refuse-silently") == 0) {
		return (HV_VSS_REFUSED);
	} else if (strcmp(what, "break") == 0) {
		snprintf(reason, size, "lost my mind");
		return (HV_VSS_BROKEN);
	} else if (strcmp(what, "garbage-code") == 0) {
		return (12345);
	} else if (strcmp(what, "crash") == 0) {
		*nowhere = 1;
	} else if (strcmp(what, "exit") == 0) {
		exit(0);
	} else if (strcmp(what, "loop") == 0) {
		for (;;)
			spins++;
	} else if (strcmp(what, "wait-until-cancelled") == 0) {
		while (!host->cancelled(host))
			usleep(1000);
		snprintf(reason, size, "given up, with time left: %s", host->time_left_ms(host) > 0 ? "yes" : "no");
		return (HV_VSS_REFUSED);
	} else if (strcmp(what, "overrun") == 0) {
		memset(reason, 'x', size + 100);
		return (HV_VSS_REFUSED);
	} else if (strcmp(what, "keep-pointers") == 0) {
		if (state->kept != NULL && state->kept->mount_count > 0)
			host->log(host, HV_VSS_LOG_INFO, state->kept->mounts[0]->on);
		state->kept = step;
	} else if (strcmp(what, "thread") == 0) {
		if (pthread_create(&thread, NULL, idle, NULL) != 0)
			abort();
	} else if (strcmp(what, "fork") == 0) {
		if (fork() == 0) {
			sleep(2);
			_exit(0);
		}
	} else if (strcmp(what, "close-descriptors") == 0) {
		for (int fd = 0; fd < 64; fd++)
			close(fd);
	} else if (strcmp(what, "block-signals") == 0) {
		sigfillset(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		signal(SIGTERM, SIG_IGN);
	} else if (strcmp(what, "allocate") == 0) {
		for (;;)
			memset(malloc(1 << 20), 1, 1 << 20);
	} else if (strcmp(what, "print") == 0) {
		for (int line = 0; line < 100000; line++)
			printf("what stdout gets of a plugin that prints, line %d\n", line);
		fflush(stdout);
	} else if (strcmp(what, "chdir-umask") == 0) {
		if (chdir("/tmp") != 0)
			abort();
		umask(0);
	} else if (strcmp(what, "flood") == 0) {
		for (int line = 0; line < 100000; line++)
			host->log(host, HV_VSS_LOG_INFO, "a line of a plugin that talks much");
	} else if (strcmp(what, "keep-file-open") == 0) {
		if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
			abort();
	} else if (strcmp(what, "lose") == 0) {
		host->lost(host, "the connection broke");
	} else if (strcmp(what, "talk") == 0) {
		host->substep(host, "10-a.sh", HV_VSS_PHASE_FREEZE, HV_VSS_SUBSTEP_PLANNED, NULL);
		host->substep(host, "10-a.sh", HV_VSS_PHASE_FREEZE, HV_VSS_SUBSTEP_STARTED, NULL);
		host->substep(host, "10-a.sh", HV_VSS_PHASE_FREEZE, HV_VSS_SUBSTEP_ENDED, "exit code 3");
		host->log(host, HV_VSS_LOG_WARN, "two\nlines");
		host->log(NULL, HV_VSS_LOG_ERROR, NULL);
	} else {
		abort();
	}
	return (HV_VSS_DONE);
}

static int32_t
called(struct state *state, const char *call, const struct hv_vss_step *step, char *reason, size_t size)
{
	int fd;

	trace(state, call, step);
	if (strcmp(state->in, call) != 0 && strcmp(state->in, "every") != 0)
		return (HV_VSS_DONE);
	if (state->once[0] != '\0') {
		fd = open(state->once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return (HV_VSS_DONE);
		close(fd);
	}
	return (misbehave(state, step, reason, size));
}

static int32_t
plugin_open(const struct hv_vss_opening *opening, void **self, char *reason, size_t size)
{
	static struct state state;

	for (uint32_t i = 0; i < opening->setting_count; i++) {
		const struct hv_vss_setting *setting = opening->settings[i];

		if (strcmp(setting->key, "in") == 0) {
			snprintf(state.in, sizeof(state.in), "%s", setting->value);
		} else if (strcmp(setting->key, "do") == 0) {
			snprintf(state.what, sizeof(state.what), "%s", setting->value);
		} else if (strcmp(setting->key, "once") == 0) {
			snprintf(state.once, sizeof(state.once), "%s", setting->value);
		} else if (strcmp(setting->key, "trace") == 0) {
			snprintf(state.trace, sizeof(state.trace), "%s", setting->value);
		} else {
			snprintf(reason, size, "unknown setting %s = \"%s\"", setting->key, setting->value);
			return (HV_VSS_REFUSED);
		}
	}
	state.host = opening->host;
	*self = &state;
	return (called(&state, "open", NULL, reason, size));
}

static int32_t
plugin_check(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	return (called(self, "check", step, reason, size));
}

static int32_t
plugin_claim(void *self, const struct hv_vss_step *step, const struct hv_vss_mount *mount, char *reason, size_t size)
{
	struct state *state = self;

	if (strcmp(state->in, "claim") == 0)
		return (misbehave(state, step, reason, size));
	snprintf(reason, size, "%s from %s", mount->fstype, mount->from);
	if (strcmp(mount->fstype, "mine") == 0)
		return (HV_VSS_CLAIM_FREEZE);
	if (strcmp(mount->fstype, "veto") == 0)
		return (HV_VSS_CLAIM_VETO);
	return ((mount->flags & HV_VSS_MOUNT_READ_ONLY) != 0 ? HV_VSS_CLAIM_IGNORE : HV_VSS_CLAIM_NOT_MINE);
}

static int32_t
plugin_freeze(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	return (called(self, "freeze", step, reason, size));
}

#ifndef NO_THAW
static int32_t
plugin_thaw(void *self, const struct hv_vss_step *step, char *reason, size_t size)
{
	return (called(self, "thaw", step, reason, size));
}
#endif

#ifndef NO_ENDED
static int32_t
plugin_ended(void *self, const struct hv_vss_step *step, const char *record, char *reason, size_t size)
{
	struct state *state = self;

	if (step->role != HV_VSS_ROLE_OBSERVER)
		abort();
	if (strcmp(state->in, "ended") == 0 && strcmp(state->what, "tell") == 0) {
		state->host->log(state->host, HV_VSS_LOG_INFO, record);
		return (HV_VSS_DONE);
	}
	return (called(state, "ended", step, reason, size));
}
#endif

static void
plugin_close(void *self)
{
	char reason[64];

	called(self, "close", NULL, reason, sizeof(reason));
}

#ifdef CONSTRUCTOR
__attribute__((__constructor__)) static void
construct(void)
{
	CONSTRUCTOR;
}
#endif

#ifdef UNDEFINED_SYMBOL
extern int a_symbol_that_nobody_has(void);
int (*use_it)(void) = a_symbol_that_nobody_has;
#endif

#ifndef TABLE_SIZE
#define	TABLE_SIZE	sizeof(struct hv_vss_plugin)
#endif
#ifndef NUMBER
#define	NUMBER	0
#endif

static const struct hv_vss_plugin table = {
	.size = TABLE_SIZE,
	.abi = HV_VSS_PLUGIN_ABI,
	.roles = ROLES,
	.flags = FLAGS,
	.number = NUMBER,
	.name = "mischief",
	.version = "1.0",
	.description = "The plugin of the host's tests",
	.open = plugin_open,
	.check = plugin_check,
	.claim = plugin_claim,
	.freeze = plugin_freeze,
#ifndef NO_THAW
	.thaw = plugin_thaw,
#endif
	.close = plugin_close,
#ifndef NO_ENDED
	.ended = plugin_ended,
#endif
};

#ifndef NO_ENTRY
HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
#ifdef NO_TABLE
	(void)&table;
	return (NULL);
#else
	return (&table);
#endif
}
#else
HV_VSS_EXPORT const struct hv_vss_plugin *not_the_entry = &table;
#endif
